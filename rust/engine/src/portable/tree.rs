//! A small tree of XML, for documents that are read whole: namespaces resolved, no DTD, no entities beyond the five,
//! depth and count bounded before memory is spent.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

const MAX_DEPTH: usize = 64;
const MAX_ATTRIBUTES: usize = 64;

/// An element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) namespace: String,
    pub(super) name: String,
    attributes: Vec<(String, String)>,
    pub(super) children: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Element {
            namespace: namespace.into(),
            name: name.into(),
            attributes: Vec::new(),
            children: Vec::new(),
        }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub(super) fn child(mut self, child: Element) -> Self {
        self.children.push(Node::Element(child));
        self
    }

    #[must_use]
    pub(super) fn maybe(mut self, child: Option<Element>) -> Self {
        self.children.extend(child.map(Node::Element));
        self
    }

    #[must_use]
    pub(super) fn text(mut self, text: &str) -> Self {
        self.children.push(Node::Text(text.into()));
        self
    }

    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    pub(super) fn find(&self, namespace: &str, name: &str) -> Option<&Element> {
        self.elements().find(|e| e.is(namespace, name))
    }

    pub(super) fn content(&self) -> String {
        self.children
            .iter()
            .filter_map(|node| match node {
                Node::Text(text) => Some(text.as_str()),
                Node::Element(_) => None,
            })
            .collect()
    }

    /// As a document of its own: each element names its namespace where it differs from its parent's.
    pub(super) fn to_xml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, "");
        out
    }

    fn write(&self, out: &mut String, parent: &str) {
        out.push('<');
        out.push_str(&self.name);
        if self.namespace != parent {
            out.push_str(&format!(" xmlns=\"{}\"", quick_xml::escape::escape(self.namespace.as_str())));
        }
        for (name, value) in &self.attributes {
            out.push_str(&format!(" {name}=\"{}\"", quick_xml::escape::escape(value.as_str())));
        }
        if self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for child in &self.children {
            match child {
                Node::Text(text) => out.push_str(&quick_xml::escape::escape(text.as_str())),
                Node::Element(element) => element.write(out, &self.namespace),
            }
        }
        out.push_str(&format!("</{}>", self.name));
    }
}

/// Reads a document. The error says what is wrong and at which byte.
pub(super) fn parse(document: &str) -> Result<Element, String> {
    let mut reader = NsReader::from_str(document);
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    loop {
        let at = reader.buffer_position();
        let wrong = |what: &str| Err(format!("{what}, at byte {at}"));
        let (namespace, event) = match reader.read_resolved_event() {
            Ok((resolved, event)) => (namespace_of(&resolved), event),
            Err(error) => return wrong(&format!("not well-formed: {error}")),
        };
        let (start, empty) = match event {
            Event::Eof if open.is_empty() => return root.ok_or_else(|| "there is no element in it".into()),
            Event::Eof => return wrong("it ends in the middle of an element"),
            Event::DocType(_) => return wrong("a DTD is not taken"),
            Event::PI(_) => return wrong("a processing instruction is not taken"),
            Event::Decl(_) | Event::Comment(_) => continue,
            Event::Start(start) => (start, false),
            Event::Empty(start) => (start, true),
            Event::End(_) => {
                if let Some(element) = open.pop() {
                    close(element, &mut open, &mut root);
                }
                continue;
            }
            Event::Text(text) => {
                push_text(&mut open, &text.xml_content(XmlVersion::Implicit1_0));
                continue;
            }
            Event::CData(text) => {
                push_text(&mut open, &text.xml_content(XmlVersion::Implicit1_0));
                continue;
            }
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().ok().flatten().map(String::from);
                let name = reference.into_inner();
                let entity = || quick_xml::escape::resolve_predefined_entity(&name).map(str::to_owned);
                match character.or_else(entity) {
                    Some(text) => push_text(&mut open, &text),
                    None => return wrong("an entity that XML does not define"),
                }
                continue;
            }
        };
        if root.is_some() && open.is_empty() {
            return wrong("something follows the document's element");
        }
        if open.len() >= MAX_DEPTH {
            return wrong("elements are nested too deeply");
        }
        let Some(namespace) = namespace else {
            return wrong("a prefix that is not declared");
        };
        let element = match element(namespace, &start) {
            Ok(element) => element,
            Err(what) => return wrong(&what),
        };
        if empty { close(element, &mut open, &mut root) } else { open.push(element) }
    }
}

fn namespace_of(resolved: &ResolveResult<'_>) -> Option<String> {
    match resolved {
        ResolveResult::Bound(namespace) => Some(namespace.into_inner().to_owned()),
        ResolveResult::Unbound => Some(String::new()),
        ResolveResult::Unknown(_) => None,
    }
}

fn element(namespace: String, start: &BytesStart<'_>) -> Result<Element, String> {
    let mut attributes = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| format!("an attribute is malformed: {error}"))?;
        let name = attribute.key.into_inner();
        // Namespaces are resolved; xml:lang and the like keep their prefix, which is always bound.
        if name == "xmlns" || name.starts_with("xmlns:") {
            continue;
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| format!("an attribute is malformed: {error}"))?;
        attributes.push((name.to_owned(), value.into_owned()));
        if attributes.len() > MAX_ATTRIBUTES {
            return Err("an element has too many attributes".into());
        }
    }
    let name = start.local_name().into_inner().to_owned();
    Ok(Element { namespace, name, attributes, children: Vec::new() })
}

fn push_text(open: &mut [Element], text: &str) {
    // Outside of the document's element there is only white space, which means nothing.
    let Some(element) = open.last_mut() else { return };
    match element.children.last_mut() {
        Some(Node::Text(before)) => before.push_str(text),
        _ => element.children.push(Node::Text(text.to_owned())),
    }
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(Node::Element(element)),
        None => *root = Some(element),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_document_comes_back() {
        let document =
            "<?xml version='1.0'?><a xmlns='urn:a' x='1 &amp; 2'>t &lt;&#65;<b:c xmlns:b='urn:b'/>\n</a>";
        let tree = parse(document).unwrap();
        assert_eq!(tree.attribute("x"), Some("1 & 2"));
        assert_eq!(tree.content(), "t <A\n");
        assert!(tree.find("urn:b", "c").is_some());
        assert_eq!(parse(&tree.to_xml()).unwrap(), tree);
    }

    #[test]
    fn what_is_not_taken_is_named() {
        let deep = "<a>".repeat(100);
        for (document, what) in [
            ("<!DOCTYPE a><a/>", "DTD"),
            ("<a>&unknown;</a>", "entity"),
            ("<a><b></a>", "not well-formed"),
            ("<a><b>", "in the middle"),
            ("<b:a/>", "prefix"),
            ("", "no element"),
            ("<a/><b/>", "follows"),
            (&deep, "deeply"),
            ("<?php ?><a/>", "processing"),
        ] {
            let error = parse(document).unwrap_err();
            assert!(error.contains(what), "{document:.40}: {error}");
        }
    }
}
