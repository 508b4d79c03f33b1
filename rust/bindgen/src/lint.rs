//! The rules for what is exported, each with its reason.
//!
//! - Nothing is async: it crashes or hangs in some language or other.
//! - Everything returns a `Result`: otherwise what a host throws is a panic, and a panic ends a Swift app.
//! - Numbers are signed and times are milliseconds: Kotlin mangles unsigned ones, and each language has a duration of its
//!   own.
//! - No name is reserved in a language, at most five arguments, no comment ends inside the text of one.
//! - An error's field is not called `message` or `cause`: Kotlin's and Java's exceptions have those.
//! - A case of an enum is not called as a type is: inside it, Kotlin takes the one for the other.

use uniffi_meta::{FieldMetadata, FnParamMetadata, Metadata, Type};

/// What a generated class has already, or what the generated code needs under this name.
const TAKEN: &[&str] = &["close", "description", "destroy", "hash", "typing", "value"];

/// Hard keywords of Kotlin, Swift, Python and C, and soft ones that have bitten.
const RESERVED: &[&str] = &[
    "and",
    "any",
    "as",
    "assert",
    "associatedtype",
    "async",
    "auto",
    "await",
    "break",
    "case",
    "catch",
    "char",
    "class",
    "const",
    "continue",
    "def",
    "default",
    "defer",
    "deinit",
    "del",
    "do",
    "double",
    "elif",
    "else",
    "enum",
    "except",
    "extension",
    "extern",
    "fallthrough",
    "false",
    "fileprivate",
    "finally",
    "float",
    "for",
    "from",
    "fun",
    "func",
    "global",
    "goto",
    "guard",
    "if",
    "import",
    "in",
    "init",
    "inout",
    "int",
    "interface",
    "internal",
    "is",
    "lambda",
    "let",
    "long",
    "nil",
    "none",
    "nonlocal",
    "not",
    "null",
    "object",
    "operator",
    "or",
    "package",
    "pass",
    "private",
    "protocol",
    "public",
    "raise",
    "register",
    "repeat",
    "rethrows",
    "return",
    "self",
    "short",
    "signed",
    "sizeof",
    "static",
    "struct",
    "subscript",
    "super",
    "switch",
    "this",
    "throw",
    "throws",
    "true",
    "try",
    "type",
    "typealias",
    "typedef",
    "typeof",
    "union",
    "unsigned",
    "val",
    "var",
    "void",
    "volatile",
    "when",
    "where",
    "while",
    "with",
    "yield",
];

const MOST_ARGUMENTS: usize = 5;

/// What breaks a rule, each in a sentence.
pub(crate) fn broken(exported: &[Metadata]) -> Vec<String> {
    let mut found = Found::default();
    let types: Vec<&str> = exported.iter().filter_map(type_name).collect();
    for item in exported {
        match item {
            Metadata::Func(f) => found.callable(
                &f.name,
                &Callable {
                    is_async: f.is_async,
                    inputs: &f.inputs,
                    output: f.return_type.as_ref(),
                    throws: f.throws.as_ref(),
                    docs: f.docstring.as_deref(),
                },
            ),
            Metadata::Constructor(f) => found.callable(
                &format!("{}.{}", f.self_name, f.name),
                &Callable {
                    is_async: f.is_async,
                    inputs: &f.inputs,
                    output: None,
                    throws: f.throws.as_ref(),
                    docs: f.docstring.as_deref(),
                },
            ),
            Metadata::Method(f) => found.callable(
                &format!("{}.{}", f.self_name, f.name),
                &Callable {
                    is_async: f.is_async,
                    inputs: &f.inputs,
                    output: f.return_type.as_ref(),
                    throws: f.throws.as_ref(),
                    docs: f.docstring.as_deref(),
                },
            ),
            Metadata::TraitMethod(f) => found.callable(
                &format!("{}.{}", f.trait_name, f.name),
                &Callable {
                    is_async: f.is_async,
                    inputs: &f.inputs,
                    output: f.return_type.as_ref(),
                    throws: f.throws.as_ref(),
                    docs: f.docstring.as_deref(),
                },
            ),
            Metadata::Record(record) => {
                found.name(&record.name);
                found.docs(&record.name, record.docstring.as_deref());
                found.fields(&record.name, &record.fields);
            }
            Metadata::Enum(given) => {
                found.name(&given.name);
                found.docs(&given.name, given.docstring.as_deref());
                for variant in &given.variants {
                    let place = format!("{}.{}", given.name, variant.name);
                    // An error's cases are classes, written as here; in Swift the others begin with a small letter.
                    if !given.shape.is_error() {
                        found.name(&place);
                    }
                    found.docs(&place, variant.docstring.as_deref());
                    found.fields(&place, &variant.fields);
                    if types.contains(&variant.name.as_str()) {
                        found.say(&place, "is called as a type is");
                    }
                    for field in variant.fields.iter().filter(|_| given.shape.is_error()) {
                        if ["message", "cause"].contains(&field.name.as_str()) {
                            found.say(&place, &format!("is an error with a field called {}", field.name));
                        }
                    }
                }
            }
            Metadata::Object(object) => {
                found.name(&object.name);
                found.docs(&object.name, object.docstring.as_deref());
            }
            Metadata::CallbackInterface(callback) => {
                found
                    .say(&callback.name, "is a callback interface of the old sort: export it with `foreign`");
            }
            Metadata::CustomType(custom) => found.kind(&custom.name, &custom.builtin),
            Metadata::UniffiTrait(given) => {
                found.say(given.self_name(), "exports a trait, which returns no `Result`")
            }
            Metadata::Namespace(_) | Metadata::UdlFile(_) | Metadata::ObjectTraitImpl(_) => {}
        }
    }
    found.0
}

fn type_name(item: &Metadata) -> Option<&str> {
    match item {
        Metadata::Record(given) => Some(&given.name),
        Metadata::Enum(given) => Some(&given.name),
        Metadata::Object(given) => Some(&given.name),
        _ => None,
    }
}

struct Callable<'a> {
    is_async: bool,
    inputs: &'a [FnParamMetadata],
    output: Option<&'a Type>,
    throws: Option<&'a Type>,
    docs: Option<&'a str>,
}

#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn say(&mut self, place: &str, what: &str) {
        self.0.push(format!("{place} {what}"));
    }

    fn callable(&mut self, place: &str, callable: &Callable<'_>) {
        self.name(place);
        self.docs(place, callable.docs);
        if callable.is_async {
            self.say(place, "is async");
        }
        if callable.throws.is_none() {
            self.say(place, "returns no `Result`");
        }
        if callable.inputs.len() > MOST_ARGUMENTS {
            self.say(place, "has more than five arguments: take a record");
        }
        for input in callable.inputs {
            let place = format!("{place}.{}", input.name);
            self.name(&place);
            self.kind(&place, &input.ty);
        }
        if let Some(output) = callable.output {
            self.kind(place, output);
        }
    }

    fn fields(&mut self, place: &str, fields: &[FieldMetadata]) {
        for field in fields {
            let place = format!("{place}.{}", field.name);
            self.name(&place);
            self.kind(&place, &field.ty);
            self.docs(&place, field.docstring.as_deref());
        }
    }

    fn name(&mut self, place: &str) {
        let name = place.rsplit('.').next().unwrap_or(place).to_ascii_lowercase();
        if RESERVED.contains(&name.as_str()) || TAKEN.contains(&name.as_str()) {
            self.say(place, "has a name that is reserved in some language");
        }
    }

    fn docs(&mut self, place: &str, docs: Option<&str>) {
        if docs.is_some_and(|docs| docs.contains("/*") || docs.contains("*/")) {
            self.say(place, "has docs that begin or end a comment");
        }
    }

    fn kind(&mut self, place: &str, kind: &Type) {
        // Bytes are a type of their own; a number of eight bits without a sign is not.
        for inner in kind.iter_types() {
            match inner {
                Type::UInt8 | Type::UInt16 | Type::UInt32 | Type::UInt64 => self.say(place, "is unsigned"),
                Type::Int8 | Type::Int16 => self.say(place, "is neither i32 nor i64"),
                Type::Timestamp | Type::Duration => self.say(place, "is a time: give milliseconds"),
                Type::Sequence { inner_type } if matches!(**inner_type, Type::Object { .. }) => {
                    self.say(place, "is a list of objects, which Kotlin leaks: give records");
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uniffi_meta::{EnumMetadata, EnumShape, FnMetadata, RecordMetadata, VariantMetadata};

    fn function() -> FnMetadata {
        FnMetadata {
            module_path: "m".into(),
            name: "send".into(),
            orig_name: None,
            is_async: false,
            inputs: vec![FnParamMetadata::simple("recipient", Type::String)],
            return_type: Some(Type::Int64),
            throws: Some(Type::Enum { module_path: "m".into(), name: "RosterKitError".into() }),
            checksum: None,
            docstring: Some("Sends.".into()),
        }
    }

    fn field(name: &str, ty: Type) -> FieldMetadata {
        FieldMetadata { name: name.into(), orig_name: None, ty, default: None, docstring: None }
    }

    fn record(name: &str, fields: Vec<FieldMetadata>) -> Metadata {
        let (module_path, name) = ("m".into(), name.into());
        Metadata::Record(RecordMetadata {
            module_path,
            name,
            orig_name: None,
            remote: false,
            fields,
            docstring: None,
        })
    }

    fn an_enum(shape: EnumShape, variant: &str, fields: Vec<FieldMetadata>) -> Metadata {
        let variant =
            VariantMetadata { name: variant.into(), orig_name: None, discr: None, fields, docstring: None };
        Metadata::Enum(EnumMetadata {
            module_path: "m".into(),
            name: "Outcome".into(),
            orig_name: None,
            shape,
            remote: false,
            variants: vec![variant],
            discr_type: None,
            non_exhaustive: false,
            docstring: None,
        })
    }

    fn one(item: Metadata) -> String {
        let found = broken(&[item]);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn what_keeps_the_rules_passes() {
        let nothing: [&str; 0] = [];
        let bytes = field("bytes", Type::Bytes);
        assert_eq!(broken(&[Metadata::Func(function()), record("Page", vec![bytes])]), nothing);
    }

    #[test]
    fn functions_return_a_result_and_are_not_async() {
        assert_eq!(
            one(Metadata::Func(FnMetadata { throws: None, ..function() })),
            "send returns no `Result`"
        );
        assert_eq!(one(Metadata::Func(FnMetadata { is_async: true, ..function() })), "send is async");
        let many = (0..6).map(|n| FnParamMetadata::simple(&format!("a{n}"), Type::String)).collect();
        assert!(one(Metadata::Func(FnMetadata { inputs: many, ..function() })).contains("more than five"));
    }

    #[test]
    fn numbers_are_signed_and_times_milliseconds() {
        let output = Type::Optional { inner_type: Box::new(Type::UInt64) };
        let unsigned = FnMetadata { return_type: Some(output), ..function() };
        assert_eq!(one(Metadata::Func(unsigned)), "send is unsigned");
        assert_eq!(one(record("Page", vec![field("size", Type::UInt32)])), "Page.size is unsigned");
        assert!(one(record("Page", vec![field("wait", Type::Duration)])).contains("milliseconds"));
        assert!(one(record("Page", vec![field("at", Type::Timestamp)])).contains("milliseconds"));
        let narrow = an_enum(EnumShape::Enum, "Done", vec![field("priority", Type::Int8)]);
        assert_eq!(one(narrow), "Outcome.Done.priority is neither i32 nor i64");
    }

    #[test]
    fn names_are_nowhere_reserved_and_no_docs_end_a_comment() {
        let reserved = "has a name that is reserved in some language";
        let close = FnMetadata { name: "close".into(), ..function() };
        assert_eq!(one(Metadata::Func(close)), format!("close {reserved}"));
        let from = FnMetadata { inputs: vec![FnParamMetadata::simple("from", Type::String)], ..function() };
        assert_eq!(one(Metadata::Func(from)), format!("send.from {reserved}"));
        assert_eq!(one(record("Page", vec![field("hash", Type::Int64)])), format!("Page.hash {reserved}"));
        assert_eq!(one(an_enum(EnumShape::Enum, "None", vec![])), format!("Outcome.None {reserved}"));
        let docs = FnMetadata { docstring: Some("Sends to */*.".into()), ..function() };
        assert!(one(Metadata::Func(docs)).contains("comment"));
    }

    #[test]
    fn errors_and_cases_do_not_hide_what_kotlin_has() {
        let hides = an_enum(EnumShape::Error { flat: false }, "Lost", vec![field("message", Type::String)]);
        assert_eq!(one(hides), "Outcome.Lost is an error with a field called message");
        let twice = [record("Page", vec![]), an_enum(EnumShape::Enum, "Page", vec![])];
        assert_eq!(broken(&twice), ["Outcome.Page is called as a type is"]);
    }
}
