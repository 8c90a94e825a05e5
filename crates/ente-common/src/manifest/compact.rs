//! The text of an entry as its digest takes it: without white space and without one member. A listing makes it of every entry, so no tree is built.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::wire::Text;

/// Objects with more members are left to a map: each name is compared with all before it.
const MAX_MEMBERS: usize = 64;

/// The object in `text` as [`Value`] writes it, without its member `name`. What is no JSON stays as it is.
pub(super) fn without(name: &str, text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let writer = Writer {
        out: &mut out,
        names: &mut Vec::new(),
        without: Some(name),
    };
    let written = writer.deserialize(&mut deserializer);
    match written.and_then(|()| deserializer.end()) {
        Ok(()) => out,
        Err(_) => without_in_tree(name, text),
    }
}

fn without_in_tree(name: &str, text: &str) -> Vec<u8> {
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(mut members) => {
            // The other members keep their order.
            members.shift_remove(name);
            Value::Object(members).to_string().into_bytes()
        }
        Err(_) => text.as_bytes().to_owned(),
    }
}

/// Writes what it is given to read.
struct Writer<'w, 'de> {
    out: &'w mut Vec<u8>,
    /// The names of members so far, of this object last.
    names: &'w mut Vec<Text<'de>>,
    /// The member that is left out of this object; `None` within the object.
    without: Option<&'w str>,
}

impl<'de> Writer<'_, 'de> {
    fn within(&mut self) -> Writer<'_, 'de> {
        Writer {
            out: self.out,
            names: self.names,
            without: None,
        }
    }

    /// Takes note of a name. One that comes again replaces a value that is written already: that takes a tree.
    fn is_new(&mut self, first: usize, name: Text<'de>) -> bool {
        let of_object = &self.names[first..];
        let is_new = of_object.len() < MAX_MEMBERS
            && of_object.iter().all(|it| it.as_ref() != name.as_ref());
        self.names.push(name);
        is_new
    }

    /// Writes a text that could be lent: nothing in it is escaped, and so nothing is to be.
    fn lent(&mut self, text: &'de str) {
        self.out.push(b'"');
        self.out.extend_from_slice(text.as_bytes());
        self.out.push(b'"');
    }

    /// Ends an array or object, each item of which ended with a comma.
    fn close(&mut self, bracket: u8) {
        match self.out.last_mut() {
            Some(comma) if *comma == b',' => *comma = bracket,
            _ => self.out.push(bracket),
        }
    }

    fn write<E: Error>(self, value: &impl serde::Serialize) -> Result<(), E> {
        serde_json::to_writer(self.out, value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Writer<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.write(&())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.write(&value)
    }

    fn visit_borrowed_str<E: Error>(mut self, value: &'de str) -> Result<(), E> {
        self.lent(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        while items.next_element_seed(self.within())?.is_some() {
            self.out.push(b',');
        }
        self.close(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let first = self.names.len();
        self.out.push(b'{');
        while let Some(name) = members.next_key::<Text<'de>>()? {
            if self.without == Some(name.as_ref()) {
                members.next_value::<IgnoredAny>()?;
                continue;
            }
            match name.0 {
                Cow::Borrowed(name) => self.lent(name),
                Cow::Owned(ref name) => self.within().write(name)?,
            }
            self.out.push(b':');
            members.next_value_seed(self.within())?;
            self.out.push(b',');
            if !self.is_new(first, name) {
                return Err(A::Error::custom("a name comes again, or there are many"));
            }
        }
        self.close(b'}');
        self.names.truncate(first);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_means_the_same_is_written_the_same() {
        let many: String = (0..MAX_MEMBERS + 2)
            .map(|number| format!(r#","{number}":[]"#))
            .collect();
        let many = format!("{{{}}}", &many[1..]);
        for (text, compact) in [
            (
                r#"{"id":1,"time":2,"key":"a+/="}"#,
                r#"{"id":1,"key":"a+/="}"#,
            ),
            (
                "{ \"id\" :\n1 , \"key\":\t[ 1 ,\r2 ] }",
                r#"{"id":1,"key":[1,2]}"#,
            ),
            (r#"{"time":2}"#, "{}"),
            (
                r#"{"a":{"time":1},"b":[{"time":1}]}"#,
                r#"{"a":{"time":1},"b":[{"time":1}]}"#,
            ),
            (
                r#"{"a":{},"b":[],"c":null,"d":true,"e":[false]}"#,
                r#"{"a":{},"b":[],"c":null,"d":true,"e":[false]}"#,
            ),
            (
                r#"{"\u0074ime":1,"\u0061":"\u00e9\/\u000A\t"}"#,
                "{\"a\":\"é/\\n\\t\"}",
            ),
            (
                r#"{"a":-0,"b":1.50,"c":1e2,"d":-7,"e":18446744073709551615}"#,
                r#"{"a":-0.0,"b":1.5,"c":100.0,"d":-7,"e":18446744073709551615}"#,
            ),
            (
                "{\"a\":\"\u{7f}\",\"b\":\",\"}",
                "{\"a\":\"\u{7f}\",\"b\":\",\"}",
            ),
            (
                r#"{"a":1,"b":{"c":1,"c":2},"a":3}"#,
                r#"{"a":3,"b":{"c":2}}"#,
            ),
            (
                r#"{"a":{"x":1},"b":{"x":1}}"#,
                r#"{"a":{"x":1},"b":{"x":1}}"#,
            ),
            (&many, &many),
            (r#"{"a":1e999}"#, r#"{"a":1e999}"#),
            (r#"{"a":"\ud800"}"#, r#"{"a":"\ud800"}"#),
            ("{", "{"),
        ] {
            let written = String::from_utf8(without("time", text)).unwrap();
            assert_eq!(written, compact, "{text}");
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            let members = proptest::collection::vec((any::<String>(), inner.clone()), 0..8);
            prop_oneof![
                proptest::collection::vec(inner, 0..8).prop_map(Value::from),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_tree_is_written_alike(value in json(), time in json()) {
            let mut with_time = Map::from_iter([("a".to_owned(), value.clone()), ("time".to_owned(), time)]);
            let text = serde_json::to_string_pretty(&with_time).unwrap();
            with_time.shift_remove("time");
            let expected = Value::Object(with_time).to_string();
            prop_assert_eq!(String::from_utf8(without("time", &text)).unwrap(), expected);
        }
    }
}
