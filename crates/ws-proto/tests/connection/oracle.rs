//! RFC 6455 read one byte at a time, with everything kept and nothing clever.

use ws_proto::Rule;

use crate::Seen;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) frame: u64,
    pub(crate) message: u64,
    pub(crate) fragments: u32,
}

impl Limits {
    pub(crate) const DEFAULT: Self = Self {
        frame: 1 << 20,
        message: 1 << 20,
        fragments: 4096,
    };
}

struct Message {
    text: bool,
    payload: Vec<u8>,
    announced: u64,
    fragments: u32,
}

/// Why reading stopped.
enum Stop {
    EndOfInput,
    Close(u16, String),
    Broken(Rule),
}

/// What an end that receives frames masked or not has to see in `input`.
pub(crate) fn interpret(input: &[u8], masked: bool, limits: &Limits) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut message = None;
    let mut bytes = input.iter().copied();
    loop {
        match frame(&mut bytes, masked, limits, &mut message, &mut seen) {
            Ok(()) => {}
            Err(Stop::EndOfInput) => {
                let begun = message.map(|message| message.payload).unwrap_or_default();
                if !begun.is_empty() {
                    seen.push(Seen::Unfinished(begun));
                }
                return seen;
            }
            Err(Stop::Close(code, reason)) => {
                seen.push(Seen::Close(code, reason));
                return seen;
            }
            Err(Stop::Broken(rule)) => {
                seen.push(Seen::Broken(rule));
                return seen;
            }
        }
    }
}

fn frame(
    bytes: &mut impl Iterator<Item = u8>,
    must_be_masked: bool,
    limits: &Limits,
    message: &mut Option<Message>,
    seen: &mut Vec<Seen>,
) -> Result<(), Stop> {
    let mut byte = || bytes.next().ok_or(Stop::EndOfInput);
    let demand = |held: bool, rule: Rule| {
        if held {
            Ok(())
        } else {
            Err(Stop::Broken(rule))
        }
    };

    let first = byte()?;
    let fin = first >= 128;
    let opcode = first % 16;
    demand((first / 16) % 8 == 0, Rule::ReservedBits)?;
    demand([0, 1, 2, 8, 9, 10].contains(&opcode), Rule::ReservedOpCode)?;
    let control = opcode >= 8;
    if control {
        demand(fin, Rule::FragmentedControl)?;
    } else if opcode == 0 {
        let fragments = message.as_ref().map(|message| message.fragments);
        demand(fragments.is_some(), Rule::UnexpectedContinuation)?;
        demand(fragments < Some(limits.fragments), Rule::TooManyFragments)?;
    } else {
        demand(message.is_none(), Rule::InterleavedMessage)?;
    }

    let second = byte()?;
    let is_masked = second >= 128;
    demand(is_masked || !must_be_masked, Rule::MissingMask)?;
    demand(!is_masked || must_be_masked, Rule::UnexpectedMask)?;
    let mut len = u64::from(second % 128);
    demand(!control || len <= 125, Rule::ControlTooLong)?;
    if len >= 126 {
        let (count, least) = if len == 126 { (2, 126) } else { (8, 65536) };
        len = 0;
        for index in 0..count {
            let byte = byte()?;
            demand(index > 0 || count == 2 || byte < 128, Rule::LengthOverflow)?;
            len = len * 256 + u64::from(byte);
        }
        demand(len >= least, Rule::NonMinimalLength)?;
    }
    if !control {
        let before = message.as_ref().map_or(0, |message| message.announced);
        demand(len <= limits.frame, Rule::FrameTooBig)?;
        demand(before + len <= limits.message, Rule::MessageTooBig)?;
    }
    let mut key = [0; 4];
    if is_masked {
        for part in &mut key {
            *part = byte()?;
        }
    }
    let mut payload = (0..len).map(|index| Ok(byte()? ^ key[(index % 4) as usize]));

    if control {
        let payload = payload.collect::<Result<Vec<u8>, Stop>>()?;
        match opcode {
            9 => seen.push(Seen::Ping(payload)),
            10 => seen.push(Seen::Pong(payload)),
            _ if payload.is_empty() => return Err(Stop::Close(1005, String::new())),
            _ => {
                demand(payload.len() >= 2, Rule::CloseTooShort)?;
                let code = u16::from(payload[0]) * 256 + u16::from(payload[1]);
                let forbidden = !(1000..5000).contains(&code)
                    || [1004, 1005, 1006].contains(&code)
                    || (1015..3000).contains(&code);
                demand(!forbidden, Rule::InvalidCloseCode)?;
                let reason = String::from_utf8(payload[2..].to_vec());
                let reason = reason.map_err(|_| Stop::Broken(Rule::InvalidCloseReason))?;
                return Err(Stop::Close(code, reason));
            }
        }
        return Ok(());
    }

    let message_so_far = message.get_or_insert(Message {
        text: opcode == 1,
        payload: Vec::new(),
        announced: 0,
        fragments: 0,
    });
    message_so_far.announced += len;
    message_so_far.fragments += 1;
    for byte in &mut payload {
        message_so_far.payload.push(byte?);
        if message_so_far.text {
            demand(may_become_utf8(&message_so_far.payload), Rule::InvalidUtf8)?;
        }
    }
    if fin && let Some(message) = message.take() {
        seen.push(if message.text {
            let text = String::from_utf8(message.payload);
            Seen::Text(text.map_err(|_| Stop::Broken(Rule::InvalidUtf8))?)
        } else {
            Seen::Binary(message.payload)
        });
    }
    Ok(())
}

fn may_become_utf8(bytes: &[u8]) -> bool {
    str::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}
