//! Whether two descriptions may mean different things.
//!
//! A machine cannot tell a better sentence from another meaning. What it can
//! see are the words that carry one: units, currencies, numbers, negations and
//! limits. If those differ, the change counts as a change of meaning; a
//! sentence that is only put better keeps them.

/// Words that carry meaning: units and currencies, and what turns a sentence round.
const TELLING: &[&str] = &[
    // currencies and their parts
    "aud brl cad chf cny czk dkk eur euro euros gbp huf inr jpy krw mxn nok nzd pln ron sek",
    "sgd try usd zar dollar dollars pound pounds yen cent cents pence pennies basis",
    // shares and multiples
    "percent percentage permille ppm ratio fraction hundred hundreds thousand thousands",
    "million millions billion billions dozen dozens",
    // length, area, volume, mass
    "mm cm dm km meter meters metre metres millimeter millimeters millimetre millimetres",
    "centimeter centimeters centimetre centimetres kilometer kilometers kilometre kilometres",
    "mile miles inch inches foot feet yard yards nautical hectare hectares acre acres liter",
    "liters litre litres gallon gallons barrel barrels mg kg gram grams kilogram kilograms",
    "tonne tonnes ton tons ounce ounces lb lbs",
    // time
    "ns ms nanosecond nanoseconds microsecond microseconds millisecond milliseconds second",
    "seconds minute minutes hour hours day days week weeks month months quarter quarters year",
    "years utc gmt cet cest est edt pst pdt local timezone",
    // physics and data
    "celsius fahrenheit kelvin pascal hpa kpa bar mbar psi inhg knot knots mph kmh kph watt",
    "watts kw mw gw wh kwh mwh joule joules volt volts ampere amperes hertz hz khz mhz ghz",
    "byte bytes kb mb gb tb kib mib gib bit bits degree degrees radian radians",
    // accounting
    "net gross tax taxes vat accrued estimated forecast actual signed unsigned absolute",
    "cumulative average mean median total minimum maximum",
    // what turns a sentence round
    "no not never none without except excluding excludes including includes only all any",
    "every cannot non",
];

/// Whether words that carry meaning differ.
pub(super) fn differs(old: &str, new: &str) -> bool {
    let telling = |text: &str| {
        let mut words: Vec<String> = words(text)
            .filter(|word| is_telling(word) || word.chars().any(char::is_numeric))
            .collect();
        words.extend(
            text.chars()
                .filter(|c| "€$£¥₹%‰°µΩ<>=±".contains(*c))
                .map(String::from),
        );
        words.sort_unstable();
        words
    };
    telling(old) != telling(new)
}

/// Whether both have the same words in the same order: only case, space and
/// punctuation differ.
pub(super) fn same_words(old: &str, new: &str) -> bool {
    words(old).eq(words(new))
}

fn is_telling(word: &str) -> bool {
    let mut known = TELLING.iter().flat_map(|line| line.split(' '));
    known.any(|known| known == word)
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_numbers_and_negations_carry_meaning() {
        for (old, new) in [
            ("Order value in EUR.", "Order value in cents."),
            ("Delay in minutes", "Delay in seconds"),
            ("Value in €", "Value in $"),
            ("At most 5 days", "At most 7 days"),
            ("Cancelled orders", "Not cancelled orders"),
            ("Departure, UTC", "Departure, local time"),
        ] {
            assert!(differs(old, new), "{old} -> {new}");
        }
        for (old, new) in [
            ("Order value in EUR.", "The value of the order, in EUR"),
            ("Stable order identifer", "Stable order identifier"),
        ] {
            assert!(!differs(old, new), "{old} -> {new}");
        }
        assert!(same_words("No onward  transfer.", "no onward transfer"));
        assert!(!same_words("no onward transfer", "onward transfer"));
    }
}
