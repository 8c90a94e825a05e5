//! Values out of metadata that may be spelled in any way: integers as floats, numbers as strings, nulls, lists.

use serde_json::Value;

/// A whole number; fractions are cut off.
pub(super) fn int(object: &Value, key: &str) -> Option<i64> {
    fn of(value: &Value) -> Option<i64> {
        match value {
            Value::Number(number) => number.as_i64().or_else(|| cut(number.as_f64()?)),
            Value::String(text) => {
                let text = text.trim();
                text.parse().ok().or_else(|| cut(text.parse().ok()?))
            }
            // Dimensions have been seen in lists of one.
            Value::Array(values) if values.len() == 1 => of(&values[0]),
            _ => None,
        }
    }
    fn cut(number: f64) -> Option<i64> {
        // Casting saturates, so what lies out of range would come out as the end of the range.
        let in_range = number >= i64::MIN as f64 && number < i64::MAX as f64;
        in_range.then_some(number as i64)
    }
    of(object.get(key)?)
}

/// A finite number.
pub(super) fn float(object: &Value, key: &str) -> Option<f64> {
    let number = match object.get(key)? {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// A text that shows something, as it is; a number as its digits.
pub(super) fn text(object: &Value, key: &str) -> Option<String> {
    let text = match object.get(key)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oddly_spelled_values_are_read() {
        let value: Value = serde_json::from_str(
            r#"{"int":7,"float":1.6e15,"point":1600000000000000.0,"neg":-1.9,"text":" 42 ","ftext":"1.6e15",
                "huge":1e300,"big":18446744073709551615,"nan":"NaN","inf":"-Infinity","null":null,"bool":true,
                "list":[4000],"list2":[1,2],"empty":"  ","word":"w"}"#,
        )
        .unwrap();
        let rows = [
            ("int", Some(7), Some(7.0), Some("7")),
            ("float", Some(1_600_000_000_000_000), Some(1.6e15), None),
            ("point", Some(1_600_000_000_000_000), Some(1.6e15), None),
            ("neg", Some(-1), Some(-1.9), Some("-1.9")),
            ("text", Some(42), Some(42.0), Some(" 42 ")),
            ("ftext", Some(1_600_000_000_000_000), Some(1.6e15), None),
            ("huge", None, Some(1e300), None),
            ("big", None, Some(18_446_744_073_709_551_615.0), None),
            ("nan", None, None, Some("NaN")),
            ("inf", None, None, None),
            ("null", None, None, None),
            ("bool", None, None, None),
            ("list", Some(4000), None, None),
            ("list2", None, None, None),
            ("empty", None, None, None),
            ("word", None, None, Some("w")),
            ("absent", None, None, None),
        ];
        for (key, as_int, as_float, as_text) in rows {
            assert_eq!(int(&value, key), as_int, "{key}");
            assert_eq!(float(&value, key), as_float, "{key}");
            if as_text.is_some() {
                assert_eq!(text(&value, key).as_deref(), as_text, "{key}");
            }
        }
        for key in ["null", "bool", "list", "empty", "absent"] {
            assert_eq!(text(&value, key), None, "{key}");
        }
        assert_eq!(
            int(&Value::Null, "a").or(int(&Value::from(vec![1]), "a")),
            None
        );
    }
}
