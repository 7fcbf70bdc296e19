//! What is refused before it is parsed.
//!
//! A policy becomes a tree that the parser, the validator and the evaluator
//! walk by recursion. Its depth and size are bounded by its tokens, which a
//! plain scan counts without building anything (A31).

use super::set::Problem;

/// The most brackets that stand inside one another.
const MAX_DEPTH: usize = 32;

/// The most tokens of one policy. A long chain (`a.b.c…`, `x && y && …`, `if`
/// in `else`) is as deep as it has tokens.
const MAX_TOKENS: usize = 1024;

/// The most policies of one file.
const MAX_POLICIES: usize = 256;

/// Refuses a file with a policy that is too large or too deep
/// (`spec/7-policy.md#R-8`).
pub(super) fn check(file: &str, text: &str) -> Result<(), Problem> {
    let mut scan = Scan {
        rest: text,
        line: 1,
    };
    let (mut depth, mut tokens, mut policies) = (0_usize, 0_usize, 0_usize);
    while let Some(token) = scan.next() {
        let refused = |reason: String| Err(Problem::at(file, scan.line, reason));
        tokens += 1;
        match token {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::End => (tokens, policies) = (0, policies + 1),
            Token::Other => {}
        }
        if depth > MAX_DEPTH {
            return refused(format!("more than {MAX_DEPTH} brackets inside one another"));
        }
        if tokens > MAX_TOKENS {
            return refused(format!("a policy of more than {MAX_TOKENS} tokens"));
        }
        if policies > MAX_POLICIES {
            return refused(format!("more than {MAX_POLICIES} policies in one file"));
        }
    }
    Ok(())
}

enum Token {
    Open,
    Close,
    End,
    Other,
}

/// Cuts Cedar text into tokens, coarsely: what it takes for several tokens may
/// be one, never the other way round.
struct Scan<'a> {
    rest: &'a str,
    line: usize,
}

impl Iterator for Scan<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let first = self.rest.chars().next()?;
            if first.is_whitespace() {
                self.advance(first.len_utf8());
            } else if self.rest.starts_with("//") {
                self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if first == '"' {
                self.advance(string(self.rest));
                return Some(Token::Other);
            } else if is_word(first) {
                let end = self.rest.find(|c| !is_word(c));
                self.advance(end.unwrap_or(self.rest.len()));
                return Some(Token::Other);
            } else {
                self.advance(first.len_utf8());
                return Some(match first {
                    '(' | '[' | '{' => Token::Open,
                    ')' | ']' | '}' => Token::Close,
                    ';' => Token::End,
                    _ => Token::Other,
                });
            }
        }
    }
}

impl Scan<'_> {
    fn advance(&mut self, bytes: usize) {
        let (passed, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }
}

/// The bytes of the string literal with which `text` begins.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a31_depth_tokens_and_policies_are_bounded() {
        let condition = |c: &str| format!("permit (principal, action, resource)\nwhen {{ {c} }};");
        let refused = |c: &str| check("p.cedar", &condition(c)).unwrap_err().to_string();
        let deep = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
        assert!(check("p.cedar", &condition(&deep(MAX_DEPTH - 1))).is_ok());
        assert!(refused(&deep(MAX_DEPTH)).starts_with("p.cedar:2: more than 32 brackets"));
        assert!(refused(&"!".repeat(10_000)).contains("tokens"));
        assert!(refused(&format!("[{}]", "\"a\", ".repeat(600))).contains("tokens"));
        let many = "permit (principal, action, resource);".repeat(MAX_POLICIES + 1);
        assert!(check("p.cedar", &many).is_err());
    }

    #[test]
    fn brackets_in_texts_and_comments_do_not_count() {
        let text = format!(
            "// {0}\npermit (principal, action, resource) when {{ \"\\\"{0}\" == \"\" }};",
            "(".repeat(100)
        );
        assert!(check("p.cedar", &text).is_ok());
    }
}
