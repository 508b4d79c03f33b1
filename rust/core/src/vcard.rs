//! The image in a vCard, and its hash.
//!
//! A vCard is taken in both forms that people have: the text of RFC 2426 and RFC 6350, and the XML of XEP-0054. All that is
//! looked at is the photo; the rest passes through.

use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ical::VcardParser;
use quick_xml::Reader;
use quick_xml::events::Event;
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
    let photo = card.properties.into_iter().find(|property| property.name.eq_ignore_ascii_case("PHOTO"));
    let Some(photo) = photo else { return Ok(None) };
    let value = photo.value.unwrap_or_default();
    if let Some((_, data)) = value.strip_prefix("data:").and_then(|data| data.split_once(";base64,")) {
        return decoded(data).map(Some);
    }
    let is_inline = photo.params.into_iter().flatten().any(|(name, values)| {
        let is_base64 =
            |value: &String| value.eq_ignore_ascii_case("b") || value.eq_ignore_ascii_case("base64");
        name.eq_ignore_ascii_case("ENCODING") && values.iter().any(is_base64)
    });
    if is_inline { decoded(&value).map(Some) } else { Ok(None) }
}

fn photo_in_xml(text: &str) -> Result<Option<Vec<u8>>, Refusal> {
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut image: Option<String> = None;
    let mut is_card = false;
    loop {
        match reader.read_event().map_err(|error| broken(&error.to_string()))? {
            Event::Start(start) => {
                if path.is_empty() {
                    is_card |= start.local_name().as_ref() == "vCard";
                }
                if path.len() >= MAX_DEPTH {
                    return Err(broken("it is nested too deeply"));
                }
                path.push(start.local_name().as_ref().to_owned());
            }
            Event::Empty(start) if path.is_empty() => is_card |= start.local_name().as_ref() == "vCard",
            Event::End(_) => drop(path.pop()),
            Event::Text(text) if path.ends_with(&["PHOTO".to_owned(), "BINVAL".to_owned()]) => {
                image.get_or_insert_default().push_str(&text);
            }
            Event::DocType(_) => return Err(broken("a document type has no place in it")),
            Event::Eof => break,
            _ => {}
        }
    }
    if !is_card || !path.is_empty() {
        return Err(broken("its root is not a whole vCard element"));
    }
    image.map(|image| decoded(&image)).transpose()
}

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
        let text = |photo: &str| format!("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Alice\r\n{photo}END:VCARD\r\n");
        for vcard in [
            text("PHOTO;ENCODING=b;TYPE=PNG:YWJj\r\n"),
            text("PHOTO;TYPE=JPEG;ENCODING=BASE64:YW\r\n Jj\r\n"),
            text("PHOTO:data:image/png;base64,YWJj\r\n"),
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
            b"<vCard>",
            b"<vCard><PHOTO><BINVAL>?</BINVAL></PHOTO></vCard>",
            b"<!DOCTYPE a [<!ENTITY b 'c'>]><vCard/>",
        ] {
            assert!(matches!(avatar(vcard), Err(Refusal::InvalidArgument(_))), "{vcard:?}");
        }
        let deep = format!("<vCard>{}{}</vCard>", "<a>".repeat(20), "</a>".repeat(20));
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
