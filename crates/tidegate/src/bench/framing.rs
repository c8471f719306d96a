//! Takes the bytes of events out of chunks and frames, in place.

/// How a response's body is cut up on the wire.
#[derive(Debug)]
pub(crate) enum Framing {
    /// Not at all: until the connection ends.
    Bare,
    /// HTTP/1.1 chunks.
    Chunks(Chunks),
    /// WebSocket frames from a server.
    Frames(Frames),
}

/// What the other side said beside the events.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Said {
    /// A ping to be answered with this payload.
    Ping(Vec<u8>),
    /// It ends the stream, with the close code if there was one.
    End(Option<u16>),
}

impl Framing {
    /// Moves the events' bytes in `bytes` to its front and returns how many they are. What else was
    /// said is added to `said`.
    ///
    /// # Errors
    ///
    /// When the bytes are no chunks, or no frames without extensions.
    pub(crate) fn decode(
        &mut self,
        bytes: &mut [u8],
        said: &mut Vec<Said>,
    ) -> Result<usize, &'static str> {
        match self {
            Self::Bare => Ok(bytes.len()),
            Self::Chunks(chunks) => chunks.decode(bytes, said),
            Self::Frames(frames) => frames.decode(bytes, said),
        }
    }
}

/// Where in the chunks the stream is.
#[derive(Debug, Default)]
pub(crate) struct Chunks {
    place: Place,
    left: u64,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Place {
    #[default]
    Size,
    /// Behind the size, until the end of the line.
    Line,
    Data,
    /// Behind the data, until the end of the line.
    End,
    /// Behind the last chunk.
    Over,
}

impl Chunks {
    fn decode(&mut self, bytes: &mut [u8], said: &mut Vec<Said>) -> Result<usize, &'static str> {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() {
            if self.place == Place::Data {
                let here = take(self.left, bytes.len() - at);
                bytes.copy_within(at..at + here, kept);
                (at, kept, self.left) = (at + here, kept + here, self.left - here as u64);
                if self.left == 0 {
                    self.place = Place::End;
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            self.place = match (self.place, byte) {
                (Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                    let digit = (byte as char).to_digit(16).unwrap_or(0);
                    if self.left >> 56 > 0 {
                        return Err("a chunk of absurd size");
                    }
                    self.left = self.left << 4 | u64::from(digit);
                    Place::Size
                }
                (Place::Size | Place::Line, b'\n') if self.left == 0 => {
                    said.push(Said::End(None));
                    Place::Over
                }
                (Place::Size | Place::Line, b'\n') => Place::Data,
                (Place::Size, b'\r' | b';' | b' ' | b'\t') | (Place::Line, _) => Place::Line,
                (Place::End, b'\r') => Place::End,
                (Place::End, b'\n') => Place::Size,
                (Place::Over, _) => Place::Over,
                _ => return Err("the body is not in chunks as it says"),
            };
        }
        Ok(kept)
    }
}

/// Where in the frames the stream is.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; 10],
    have: usize,
    /// What is still to come of the payload, once the header is complete.
    left: u64,
    in_payload: bool,
    control: Vec<u8>,
}

impl Frames {
    fn decode(&mut self, bytes: &mut [u8], said: &mut Vec<Said>) -> Result<usize, &'static str> {
        let (mut at, mut kept) = (0, 0);
        loop {
            if self.in_payload {
                let here = take(self.left, bytes.len() - at);
                if self.header[0] & 8 == 0 {
                    bytes.copy_within(at..at + here, kept);
                    kept += here;
                } else {
                    self.control.extend_from_slice(&bytes[at..at + here]);
                }
                (at, self.left) = (at + here, self.left - here as u64);
                if self.left > 0 {
                    return Ok(kept);
                }
                self.end_of_frame(said);
            }
            let Some(&byte) = bytes.get(at) else {
                return Ok(kept);
            };
            self.header[self.have] = byte;
            (at, self.have) = (at + 1, self.have + 1);
            self.look_at_header()?;
        }
    }

    fn look_at_header(&mut self) -> Result<(), &'static str> {
        if self.have < 2 {
            return Ok(());
        }
        let [first, second] = [self.header[0], self.header[1]];
        let length = usize::from(second & 0x7f);
        match (first & 0x70, second & 0x80, first & 15) {
            (1.., _, _) => return Err("a WebSocket frame with an extension nobody asked for"),
            (_, 1.., _) => return Err("a WebSocket frame from a server is masked"),
            (_, _, 8..) if length > 125 => return Err("a WebSocket control frame is too long"),
            (_, _, 0..=2 | 8..=10) => {}
            _ => return Err("a WebSocket frame with an opcode that is not defined"),
        }
        let (end, left) = match length {
            126 => (4, self.extended(4)),
            127 => (10, self.extended(10)),
            length => (2, length as u64),
        };
        if self.have == end {
            (self.left, self.in_payload) = (left, true);
        }
        Ok(())
    }

    /// The length in the header from byte 2 to `end`.
    fn extended(&self, end: usize) -> u64 {
        let bytes = self.header[2..end].iter();
        bytes.fold(0, |length, byte| length << 8 | u64::from(*byte))
    }

    fn end_of_frame(&mut self, said: &mut Vec<Said>) {
        let payload = std::mem::take(&mut self.control);
        match self.header[0] & 15 {
            8 => said.push(Said::End(match payload[..] {
                [high, low, ..] => Some(u16::from_be_bytes([high, low])),
                _ => None,
            })),
            9 => said.push(Said::Ping(payload)),
            _ => {}
        }
        (self.have, self.in_payload) = (0, false);
    }
}

fn take(left: u64, there: usize) -> usize {
    usize::try_from(left).map_or(there, |left| left.min(there))
}

/// A client's frame; its mask is zero, which is as good as any to a server that is not a proxy.
///
/// # Panics
///
/// When the payload is over 64 KiB; ours are commands and pongs.
pub(crate) fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            let length = u16::try_from(length).expect("a command is short");
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes whole, byte by byte, and at every split.
    #[track_caller]
    fn check(new: impl Fn() -> Framing, wire: &[u8], body: &[u8], expected: &[Said]) {
        let run = |pieces: &[&[u8]]| {
            let (mut framing, mut found, mut said) = (new(), Vec::new(), Vec::new());
            for piece in pieces {
                let mut piece = piece.to_vec();
                let kept = framing.decode(&mut piece, &mut said).unwrap();
                found.extend_from_slice(&piece[..kept]);
            }
            assert_eq!(found, body, "{pieces:?}");
            assert_eq!(said, expected, "{pieces:?}");
        };
        run(&[wire]);
        run(&wire.chunks(1).collect::<Vec<_>>());
        for split in 0..wire.len() {
            let (first, second) = wire.split_at(split);
            run(&[first, second]);
        }
    }

    fn chunks() -> Framing {
        Framing::Chunks(Chunks::default())
    }

    fn frames() -> Framing {
        Framing::Frames(Frames::default())
    }

    #[test]
    fn chunks_are_joined() {
        check(
            chunks,
            b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n",
            b"abc0123456789",
            &[],
        );
        check(chunks, b"1\r\na\r\n0\r\n\r\n", b"a", &[Said::End(None)]);
    }

    #[test]
    fn frames_are_joined_and_control_frames_are_told() {
        let mut wire = vec![0x81, 2, b'a', b'b', 0x89, 1, b'p', 0x02, 1, b'c', 0x80, 0];
        wire.extend([0x82, 126, 0, 200]);
        wire.extend([b'x'; 200]);
        wire.extend([0x88, 4, 0x03, 0xe8, b'n', b'o']);
        let mut body = b"abc".to_vec();
        body.extend([b'x'; 200]);
        let said = [Said::Ping(b"p".to_vec()), Said::End(Some(1000))];
        check(frames, &wire, &body, &said);
    }

    #[test]
    fn what_is_neither_is_refused() {
        let refused = |mut framing: Framing, bytes: &[u8]| {
            framing
                .decode(&mut bytes.to_vec(), &mut Vec::new())
                .unwrap_err()
        };
        assert!(refused(chunks(), b"data: x").contains("chunks"));
        assert!(refused(chunks(), b"fffffffffffffffff\r\n").contains("absurd"));
        assert!(refused(frames(), &[0xc1, 0]).contains("extension"));
        assert!(refused(frames(), &[0x81, 0x80]).contains("masked"));
        assert!(refused(frames(), &[0x83, 0]).contains("opcode"));
        assert!(refused(frames(), &[0x89, 126]).contains("control"));
    }

    #[test]
    fn a_client_frame_is_masked_with_zeroes() {
        assert_eq!(client_frame(1, b"ab"), [0x81, 0x82, 0, 0, 0, 0, b'a', b'b']);
        assert_eq!(client_frame(1, &[b'x'; 300])[..4], [0x81, 0xfe, 1, 44]);
    }
}
