//! Values that are text in JSON: parsed once, when the rules are read.

/// `Serialize` by `Display`, `Deserialize` by `FromStr`, and for the tests the schema: a string, with what is said of it.
macro_rules! text_form {
    ($type:ident, $($schema:tt)*) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(<D::Error as serde::de::Error>::custom)
            }
        }

        #[cfg(test)]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", $($schema)* })
            }
        }
    };
}

pub(super) use text_form;

use crate::refusal::Refusal;

/// A value that is not what it should be.
pub(super) fn invalid(what: impl Into<String>) -> Refusal {
    Refusal::InvalidArgument(what.into())
}

/// At most this many bytes.
pub(super) fn bounded(what: &str, text: &str, most: usize) -> Result<(), Refusal> {
    if text.len() > most {
        return Err(invalid(format!("{what} has at most {most} bytes, this one has {}", text.len())));
    }
    Ok(())
}
