//! What is asked on a connection, once the server's settings are there.

use loona_hpack::Encoder;
use loona_hpack::encoder::encode_integer;

use super::frame::{END_HEADERS, END_STREAM, kind, write_data, write_frame};
use super::{Http2, stream};

/// The fields of a request, and what the stream says after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) first: Vec<u8>,
}

impl Http2 {
    /// The server's settings are there: asks everything, if they allow it.
    pub(super) fn ask(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let requests = std::mem::take(&mut self.requests);
        let setting = |wanted: u16| {
            let entries = self.payload.as_chunks::<6>().0.iter();
            let mut entries = entries.map(|[a, b, c, d, e, f]| {
                let name = u16::from_be_bytes([*a, *b]);
                (name, u32::from_be_bytes([*c, *d, *e, *f]))
            });
            entries.rfind(|(name, _)| *name == wanted)
        };
        if let Some((_, most)) = setting(3)
            && requests.len() > most as usize
        {
            return Err(format!(
                "the server allows {most} streams a connection; ask for fewer with --streams"
            ));
        }
        let connects = |(name, _): &(String, String)| name == ":protocol";
        let websocket = requests
            .iter()
            .any(|asked| asked.fields.iter().any(connects));
        if websocket && setting(8).is_none_or(|(_, value)| value == 0) {
            return Err(
                "the server does not offer WebSocket over HTTP/2 (RFC 8441); Tidegate does with \
                 --ws-over-h2"
                    .to_owned(),
            );
        }
        let mut hpack = Encoder::new();
        let mut resized = Vec::new();
        if let Some((_, size @ 0..4096)) = setting(1) {
            hpack.set_max_table_size(size as usize);
            resized = encode_integer(size as usize, 5);
            resized[0] |= 0x20;
        }
        for (number, request) in requests.iter().enumerate() {
            let fields = request.fields.iter();
            let fields = fields.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            let mut block = std::mem::take(&mut resized);
            block.extend(hpack.encode(fields));
            let ends = if websocket { 0 } else { END_STREAM };
            let stream = stream(number);
            write_frame(out, kind::HEADERS, END_HEADERS | ends, stream, &block);
            if !request.first.is_empty() {
                write_data(out, stream, &request.first);
            }
        }
        Ok(())
    }
}
