//! What a message carries. The engine looks at sizes and at nothing else: what it does not know passes through.

use crate::id::MessageId;
use std::sync::Arc;

/// The content of a message. Clones share the bytes, so forking to many sessions copies nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The body.
    pub body: Body,
    /// An opaque payload of the host or a gateway, stored and forwarded unread. Empty when there is none.
    pub extensions: Arc<[u8]>,
    /// The message that this one answers (XEP-0461). It need not exist, or be seen by everybody.
    pub reply_to: Option<MessageId>,
}

/// The body of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Text in any language; line breaks are kept.
    Text(Arc<str>),
    /// Data with its media type (RFC 6838).
    Data {
        /// For instance `image/png`.
        media_type: Arc<str>,
        /// The data.
        bytes: Arc<[u8]>,
    },
}

impl Body {
    /// How long it is, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Body::Text(text) => text.len(),
            Body::Data { media_type, bytes } => media_type.len() + bytes.len(),
        }
    }
}

impl Content {
    /// A plain text.
    pub fn text(text: &str) -> Self {
        Content { body: Body::Text(text.into()), extensions: Arc::default(), reply_to: None }
    }

    /// The text, when it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            Body::Text(text) => Some(text),
            Body::Data { .. } => None,
        }
    }

    /// What counts against size limits, in bytes: body, media type and extensions.
    pub fn size(&self) -> usize {
        self.extensions.len() + self.body.size()
    }

    /// A hash that tells a repeat of a send from another send under the same client id. FNV-1a, because it is
    /// kept on disk beside the client id.
    pub fn hash64(&self) -> u64 {
        let (kind, media_type, bytes): (u8, &str, &[u8]) = match &self.body {
            Body::Text(text) => (1, "", text.as_bytes()),
            Body::Data { media_type, bytes } => (2, media_type, bytes),
        };
        let mut all = Vec::with_capacity(self.size() + 17);
        all.push(kind);
        for part in [media_type.as_bytes(), bytes, &self.extensions] {
            all.extend_from_slice(&(part.len() as u64).to_le_bytes());
            all.extend_from_slice(part);
        }
        if let Some(id) = self.reply_to {
            all.extend_from_slice(id.0.as_bytes());
        }
        crate::id::fnv1a(&all)
    }
}

/// A chat state (XEP-0085): ephemeral, never stored, counted or answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatState {
    /// Typing.
    Composing,
    /// Stopped typing for now.
    Paused,
    /// In the conversation, not typing.
    Active,
    /// Away from the conversation.
    Inactive,
    /// Has left the conversation.
    Gone,
}
