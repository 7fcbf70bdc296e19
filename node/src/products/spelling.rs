//! The word that was meant.

/// The candidate that `word` was most likely meant to be, ignoring case.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let tolerance = (word.chars().count() / 4).clamp(1, 3);
    candidates
        .map(|candidate| (edits(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The edit distance with transpositions (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    /// Beyond this no suggestion is made, and the table would cost memory.
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > LONGEST || b.len() > LONGEST {
        return usize::MAX;
    }
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let change = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1)
                    .min(rows[i - 1][j - 1] + change);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_finds_its_word() {
        assert_eq!(
            nearest("clasification", ["classification", "name"].into_iter()),
            Some("classification")
        );
        assert_eq!(
            nearest("ComityMask", ["comityMask"].into_iter()),
            Some("comityMask")
        );
        assert_eq!(
            nearest("comityMsak", ["comityMask"].into_iter()),
            Some("comityMask")
        );
        assert_eq!(
            nearest("owner", ["classification", "name"].into_iter()),
            None
        );
    }
}
