//! Headers and masks, all there are of them but for lengths far from any boundary.

use std::time::Duration;

use ws_proto::{Config, Connection, Event, Header, OpCode, Parsed, Role, Rule, Server, apply_mask};

/// What a connection is in the midst of.
#[derive(Clone, Copy, Debug)]
struct Situation {
    /// The frame must be masked, or must not; `None` if either will do.
    masked: Option<bool>,
    /// A message is open, or is not; `None` if either will do.
    open: Option<bool>,
    compressed: bool,
}

const ANY: Situation = Situation {
    masked: None,
    open: None,
    compressed: true,
};

/// A header as RFC 6455 section 5.2 draws it, judged from left to right: what it says, or which rule it
/// breaks with which of its bytes.
fn judge(bytes: &[u8], situation: Situation) -> Result<Header, (usize, Rule)> {
    let (first, second) = (bytes[0], bytes[1]);
    let nibble = first % 16;
    let begins = nibble == 1 || nibble == 2;
    if first & 0x20 != 0 || first & 0x10 != 0 {
        return Err((0, Rule::ReservedBits));
    }
    if first & 0x40 != 0 && (!begins || !situation.compressed) {
        return Err((0, Rule::ReservedBits));
    }
    let opcode = match nibble {
        0 => OpCode::Continuation,
        1 => OpCode::Text,
        2 => OpCode::Binary,
        8 => OpCode::Close,
        9 => OpCode::Ping,
        10 => OpCode::Pong,
        _ => return Err((0, Rule::ReservedOpCode)),
    };
    let is_control = nibble >= 8;
    if is_control && first < 0x80 {
        return Err((0, Rule::FragmentedControl));
    }
    if nibble == 0 && situation.open == Some(false) {
        return Err((0, Rule::UnexpectedContinuation));
    }
    if begins && situation.open == Some(true) {
        return Err((0, Rule::InterleavedMessage));
    }
    let masked = second >= 0x80;
    match situation.masked {
        Some(true) if !masked => return Err((1, Rule::MissingMask)),
        Some(false) if masked => return Err((1, Rule::UnexpectedMask)),
        _ => {}
    }
    let short = second % 128;
    if is_control && short > 125 {
        return Err((1, Rule::ControlTooLong));
    }
    let (len, end) = match short {
        126 => (u64::from(bytes[2]) * 256 + u64::from(bytes[3]), 4),
        127 if bytes[2] >= 0x80 => return Err((2, Rule::LengthOverflow)),
        127 => (
            bytes[2..10]
                .iter()
                .fold(0, |len, byte| len * 256 + u64::from(*byte)),
            10,
        ),
        short => (u64::from(short), 2),
    };
    if (short == 126 && len < 126) || (short == 127 && len < 65536) {
        return Err((end - 1, Rule::NonMinimalLength));
    }
    let mut header = Header::new(opcode, len);
    header.fin = first >= 0x80;
    header.rsv1 = first & 0x40 != 0;
    header.mask = masked.then(|| [bytes[end], bytes[end + 1], bytes[end + 2], bytes[end + 3]]);
    Ok(header)
}

/// Every first byte, with and without a mask, with each form of length at each of its ends.
fn headers(mut each: impl FnMut(&[u8])) {
    let mut lengths = (0..=125).map(|short| vec![short]).collect::<Vec<_>>();
    for len in [0, 1, 125, 126, 127, 255, 256, u16::MAX - 1, u16::MAX] {
        lengths.push([&[126][..], &len.to_be_bytes()].concat());
    }
    for len in [
        0,
        125,
        126,
        65535,
        65536,
        65537,
        u64::from(u32::MAX),
        1 << 32,
        (1 << 62) + 1,
        (1 << 63) - 1,
        1 << 63,
        u64::MAX,
    ] {
        lengths.push([&[127][..], &len.to_be_bytes()].concat());
    }
    for first in 0..=255 {
        for length in &lengths {
            for mask in [0, 0x80] {
                let mut bytes = vec![first, length[0] | mask];
                bytes.extend_from_slice(&length[1..]);
                if mask != 0 {
                    bytes.extend([1, 2, 3, 4]);
                }
                each(&bytes);
            }
        }
    }
}

#[test]
fn every_header_is_read_as_drawn_and_refused_with_the_first_byte_that_is_wrong() {
    headers(|bytes| {
        let expected = judge(bytes, ANY);
        for len in 0..bytes.len() {
            let parsed = Header::parse(&bytes[..len]).map_err(|violation| violation.rule);
            match expected {
                Err((at, rule)) if at < len => assert_eq!(parsed, Err(rule), "{bytes:02x?}"),
                _ => assert!(
                    matches!(parsed, Ok(Parsed::Need(need)) if len < need && need <= bytes.len()),
                    "{parsed:?} of {len} of {bytes:02x?}"
                ),
            }
        }
        let parsed = Header::parse(bytes).map_err(|violation| violation.rule);
        match expected {
            Err((_, rule)) => assert_eq!(parsed, Err(rule), "{bytes:02x?}"),
            Ok(header) => {
                let used = bytes.len();
                assert_eq!(parsed, Ok(Parsed::Done { header, used }), "{bytes:02x?}");
                assert_eq!(*header.encode(), *bytes);
            }
        }
    });
}

/// A connection without limits, in this situation.
fn within<R: Role>(new: impl Fn(Config) -> Connection<R>, situation: Situation) -> Connection<R> {
    let mut config = Config::default();
    config.max_frame(usize::MAX).max_message(usize::MAX);
    let mut connection = new(*config.compressed(situation.compressed));
    if situation.open == Some(true) {
        let mut header = Header::new(OpCode::Binary, 0);
        header.fin = false;
        header.mask = situation.masked.unwrap_or_default().then_some([0; 4]);
        let mut bytes = header.encode().to_vec();
        let mut events = connection.push(&mut bytes, Duration::ZERO);
        assert!(matches!(events.next(), Some(Ok(Event::Data(_)))));
    }
    connection
}

#[test]
fn every_header_is_judged_alike_in_a_connection_at_either_end_in_any_situation() {
    for compressed in [false, true] {
        for open in [false, true] {
            for masked in [false, true] {
                let situation = Situation {
                    masked: Some(masked),
                    open: Some(open),
                    compressed,
                };
                headers(|bytes| {
                    // 125 short lengths are alike here.
                    if (2..125).contains(&(bytes[1] % 128)) {
                        return;
                    }
                    let broken = if masked {
                        refused(within(Connection::<Server>::server, situation), bytes)
                    } else {
                        let new = |config| Connection::client(config, || [0; 4]);
                        refused(within(new, situation), bytes)
                    };
                    let expected = judge(bytes, situation).err().map(|(_, rule)| rule);
                    assert_eq!(broken, expected, "{bytes:02x?} in {situation:?}");
                });
            }
        }
    }
}

fn refused<R: Role>(mut connection: Connection<R>, bytes: &[u8]) -> Option<Rule> {
    let mut bytes = bytes.to_vec();
    let mut events = connection.push(&mut bytes, Duration::ZERO);
    while let Some(event) = events.next() {
        if let Err(violation) = event {
            return Some(violation.rule);
        }
    }
    None
}

#[test]
fn a_mask_is_right_at_every_phase_length_and_alignment_and_touches_nothing_else() {
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let plain: Vec<u8> = (0..400_u16).map(|n| n.to_be_bytes()[1] ^ 0x5a).collect();
    for phase in 0..4 {
        for len in 0..=192 {
            for start in 0..64 {
                let mut bytes = plain.clone();
                let end = start + len;
                let next = apply_mask(&mut bytes[start..end], key, phase);
                assert_eq!(next, (phase + len) % 4);
                let is_right = bytes.iter().enumerate().all(|(at, byte)| {
                    let mask = if (start..end).contains(&at) {
                        key[(phase + at - start) % 4]
                    } else {
                        0
                    };
                    *byte == plain[at] ^ mask
                });
                assert!(is_right, "phase {phase}, {len} bytes from {start}");
            }
        }
    }
}
