//! The image in a vCard, and its hash.
//!
//! A vCard is taken in both forms that people have: the text of RFC 2426 and RFC 6350, and the XML of XEP-0054. All that is
//! looked at is the photo; the rest passes through.

use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ical::VcardParser;
use ical::property::Property;
use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::{Namespace, ResolveResult};
use sha1::{Digest, Sha1};
use std::fmt::Write as _;
use std::sync::Arc;

/// The hash of the image in a vCard (XEP-0153): SHA-1 of its bytes, in lower-case hex. `None` when there is no image, or only
/// a link to one.
pub fn avatar(vcard: &[u8]) -> Result<Option<Arc<str>>, Refusal> {
    let text = std::str::from_utf8(vcard).map_err(|_| broken("it is not UTF-8"))?;
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let image = if text.starts_with('<') { photo_in_xml(text)? } else { photo_in_text(text)? };
    Ok(image.filter(|image| !image.is_empty()).map(|image| hash(&image)))
}

fn hash(image: &[u8]) -> Arc<str> {
    let mut hex = String::with_capacity(40);
    for byte in Sha1::digest(image) {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex.into()
}

fn broken(why: &str) -> Refusal {
    Refusal::InvalidArgument(format!("this is no vCard: {why}"))
}

fn decoded(base64: &str) -> Result<Vec<u8>, Refusal> {
    let text: String = base64.chars().filter(|c| !c.is_whitespace()).collect();
    STANDARD.decode(text).map_err(|_| broken("its PHOTO is not base64"))
}

fn photo_in_text(text: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let mut cards = VcardParser::new(text.as_bytes());
    let card = match cards.next() {
        Some(Ok(card)) => card,
        Some(Err(error)) => return Err(broken(&error.to_string())),
        None => return Err(broken("it does not begin with BEGIN:VCARD")),
    };
    // A property may stand in a group: `item1.PHOTO`.
    let is_photo =
        |name: &str| name.rsplit('.').next().is_some_and(|name| name.eq_ignore_ascii_case("PHOTO"));
    card.properties.into_iter().filter(|property| is_photo(&property.name)).find_map(inline).transpose()
}

/// The image in a PHOTO, unless it is a link to one.
fn inline(photo: Property) -> Option<Result<Vec<u8>, Refusal>> {
    let value = photo.value.unwrap_or_default();
    let is_data = value.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    if let Some((media, data)) = value.split_once(',').filter(|_| is_data) {
        let is_base64 = media.rsplit(';').next().is_some_and(|last| last.eq_ignore_ascii_case("base64"));
        return is_base64.then(|| decoded(data));
    }
    let is_inline = photo.params.into_iter().flatten().any(|(name, values)| {
        let is_base64 =
            |value: &String| value.eq_ignore_ascii_case("b") || value.eq_ignore_ascii_case("base64");
        name.eq_ignore_ascii_case("ENCODING") && values.iter().any(is_base64)
    });
    is_inline.then(|| decoded(&value))
}

fn photo_in_xml(text: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let mut reader = NsReader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut image: Option<String> = None;
    // Of several photos the first one counts.
    let mut is_taken = false;
    let mut is_card = false;
    loop {
        let at_image = !is_taken && path == ["vCard", "PHOTO", "BINVAL"];
        let event = reader.read_event().map_err(|error| broken(&error.to_string()))?;
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                let (namespace, name) = reader.resolver().resolve_element(start.name());
                if path.is_empty() {
                    let is_root = !is_card && name.as_ref() == "vCard" && namespace == VCARD_TEMP;
                    if !is_root {
                        return Err(broken(NO_ROOT));
                    }
                    is_card = true;
                }
                if path.len() >= MAX_DEPTH {
                    return Err(broken("it is nested too deeply"));
                }
                if matches!(event, Event::Start(_)) {
                    // What is of another namespace is none of its elements.
                    let name = if namespace == VCARD_TEMP { name.as_ref() } else { "" };
                    path.push(name.to_owned());
                }
            }
            Event::End(_) => {
                is_taken |= image.is_some() && path == ["vCard", "PHOTO", "BINVAL"];
                path.pop();
            }
            Event::Text(text) if at_image => image.get_or_insert_default().push_str(&text),
            Event::CData(text) if at_image => image.get_or_insert_default().push_str(&text),
            Event::GeneralRef(reference) if at_image => {
                match reference.resolve_char_ref() {
                    Ok(Some(c)) => image.get_or_insert_default().push(c),
                    _ => return Err(broken("its PHOTO is not base64")),
                };
            }
            Event::Text(text) if path.is_empty() && !text.trim().is_empty() => return Err(broken(NO_ROOT)),
            Event::CData(_) | Event::GeneralRef(_) if path.is_empty() => return Err(broken(NO_ROOT)),
            Event::DocType(_) => return Err(broken("a document type has no place in it")),
            Event::Eof => break,
            _ => {}
        }
    }
    if !is_card || !path.is_empty() {
        return Err(broken(NO_ROOT));
    }
    image.map(|image| decoded(&image)).transpose()
}

const NO_ROOT: &str = "its root is not one whole vCard element of vcard-temp";
const VCARD_TEMP: ResolveResult<'_> = ResolveResult::Bound(Namespace("vcard-temp"));
/// How deep the elements of a vCard may be nested.
const MAX_DEPTH: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By `printf abc | sha1sum`.
    const ABC: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

    // behaviour: files.avatar-hash
    #[test]
    fn the_hash_is_of_the_images_bytes_in_every_form() {
        let xml = |inner: &str| format!("<vCard xmlns='vcard-temp'>{inner}</vCard>\n");
        let text = |photo: &str| format!("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Alice\r\n{photo}END:VCARD\r\n");
        for vcard in [
            text("PHOTO;ENCODING=b;TYPE=PNG:YWJj\r\n"),
            text("PHOTO;TYPE=JPEG;ENCODING=BASE64:YW\r\n Jj\r\n"),
            text("PHOTO:data:image/png;base64,YWJj\r\n"),
            text("PHOTO:DATA:image/png;BASE64,YWJj\r\n"),
            text("item1.PHOTO;ENCODING=b:YWJj\r\n"),
            text("PHOTO;VALUE=uri:https://example.org/a.png\r\nPHOTO;ENCODING=b:YWJj\r\nPHOTO;ENCODING=b:eA==\r\n"),
            xml("<PHOTO><BINVAL><![CDATA[YW]]>&#74;j</BINVAL></PHOTO><PHOTO><BINVAL>eA==</BINVAL></PHOTO>"),
            xml("<ORG><PHOTO><BINVAL>eA==</BINVAL></PHOTO></ORG><PHOTO><BINVAL>YWJj</BINVAL></PHOTO>"),
            "<v:vCard xmlns:v='vcard-temp'><v:PHOTO><v:BINVAL>YWJj</v:BINVAL></v:PHOTO></v:vCard>".into(),
            "<vCard xmlns='vcard-temp'><FN>A</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>\n YW\n Jj</BINVAL></PHOTO></vCard>".into(),
        ] {
            assert_eq!(avatar(vcard.as_bytes()).unwrap().as_deref(), Some(ABC), "{vcard}");
        }
        for vcard in [
            text(""),
            text("PHOTO;VALUE=uri:https://example.org/a.png\r\n"),
            text("PHOTO;ENCODING=b:\r\n"),
            "<vCard xmlns='vcard-temp'><FN>A</FN></vCard>".into(),
            "<vCard xmlns='vcard-temp'/>".into(),
            xml(
                "<x xmlns='urn:x'><PHOTO><BINVAL>eA==</BINVAL></PHOTO></x><PHOTO xmlns='urn:x'><BINVAL>eA==</BINVAL></PHOTO>",
            ),
        ] {
            assert_eq!(avatar(vcard.as_bytes()).unwrap(), None, "{vcard}");
        }
    }

    // behaviour: files.avatar-refused
    #[test]
    fn what_is_no_vcard_is_refused() {
        for vcard in [
            &b"\xff\xfe"[..],
            b"",
            b"hello",
            b"BEGIN:VCARD\r\nFN:A\r\n",
            b"BEGIN:VCARD\r\nPHOTO;ENCODING=b:???\r\nEND:VCARD\r\n",
            b"<html/>",
            b"<vCard xmlns='vcard-temp'>",
            b"<vCard/>",
            b"<vCard xmlns='urn:x'/>",
            b"<vCard xmlns='vcard-temp'/><vCard xmlns='vcard-temp'/>",
            b"<vCard xmlns='vcard-temp'/>more",
            b"<vCard xmlns='vcard-temp'/>&#74;",
            b"<vCard xmlns='vcard-temp'><PHOTO><BINVAL>?</BINVAL></PHOTO></vCard>",
            b"<vCard xmlns='vcard-temp'><PHOTO><BINVAL>&b;</BINVAL></PHOTO></vCard>",
            b"<!DOCTYPE a [<!ENTITY b 'c'>]><vCard xmlns='vcard-temp'/>",
        ] {
            assert!(matches!(avatar(vcard), Err(Refusal::InvalidArgument(_))), "{vcard:?}");
        }
        let deep = format!("<vCard xmlns='vcard-temp'>{}{}</vCard>", "<a>".repeat(20), "</a>".repeat(20));
        assert!(avatar(deep.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_in_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,200}") {
            let _ = avatar(&bytes);
            let _ = avatar(text.as_bytes());
        }

        // behaviour: files.avatar-hash
        #[test]
        fn both_forms_of_an_image_have_one_hash(image in prop::collection::vec(any::<u8>(), 1..300)) {
            let encoded = STANDARD.encode(&image);
            let xml = format!("<vCard xmlns='vcard-temp'><PHOTO><BINVAL>{encoded}</BINVAL></PHOTO></vCard>");
            let text = format!("BEGIN:VCARD\nVERSION:4.0\nPHOTO:data:image/gif;base64,{encoded}\nEND:VCARD\n");
            let hash = avatar(xml.as_bytes()).unwrap();
            prop_assert_eq!(&hash, &avatar(text.as_bytes()).unwrap());
            prop_assert_eq!(hash.unwrap().len(), 40);
        }
    }
}
