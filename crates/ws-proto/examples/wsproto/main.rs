//! Random bytes, and random messages in both directions, through `ws-proto` and Python's `wsproto`:
//! both must see the same, but for the differences that are listed here with their reasons. And
//! DEFLATE with each window, against Python's `zlib`.
//!
//! `cargo run -p ws-proto --features deflate --example wsproto -- [CASES [SEED]]`, or
//! `cargo xtask conformance wsproto`, which also installs the Python packages.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

mod generate;
mod peer;

use std::error::Error;
use std::time::Duration;

use generate::{Case, Random};
use peer::{Peer, hex};
use ws_proto::handshake::{DeflateSide, WindowBits};
use ws_proto::{
    Assembler, CloseCode, Config, Connection, Deflater, Event, Fragment, Inflater, Kind, Message,
    Role, Rule, Violation,
};

type AnyError = Box<dyn Error>;

/// What the two may see differently, and why that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    /// wsproto judges a header when it is whole. This one is judged as far as it goes.
    Earlier,
    /// 1014 is in the IANA registry since after RFC 6455; wsproto does not know it.
    Code1014,
    /// A control frame between the fragments of a compressed message makes wsproto forget that it is
    /// compressed.
    ControlBetween,
    /// After a block with BFINAL wsproto inflates nothing any more, and delivers messages empty. RFC
    /// 7692 section 7.2.3.4 allows such blocks.
    LastBlock,
    /// wsproto does not see that a compressed message is cut short, or does not end as RFC 7692
    /// section 7.2.1 says.
    CutShort,
    /// wsproto inflates a fragment before it asks whether one may come here, and so finds 1007 first.
    InflatedFirst,
}

impl Difference {
    const ALL: [Self; 6] = [
        Self::Earlier,
        Self::Code1014,
        Self::ControlBetween,
        Self::LastBlock,
        Self::CutShort,
        Self::InflatedFirst,
    ];
}

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(Ok(default), |word| word.parse());
    let (cases, seed): (u64, u64) = (number(4000)?, number(1)?);
    let mut peer = Peer::start()?;
    let mut seen = [0_u64; Difference::ALL.len()];
    for index in 0..cases {
        let mut random = Random::new(seed.wrapping_mul(1 << 32).wrapping_add(index));
        let case = Case::read(&mut random);
        if let Some(difference) =
            compare(&mut peer, &case).map_err(|why| blame(index, seed, &why))?
            && let Some(at) = Difference::ALL.iter().position(|it| *it == difference)
        {
            seen[at] += 1;
        }
        if index % 4 == 0 {
            write_to_us(&mut peer, &mut random).map_err(|why| blame(index, seed, &why))?;
        }
        if index % 16 == 0 {
            windows(&mut peer, &mut random).map_err(|why| blame(index, seed, &why))?;
        }
    }
    let seen = Difference::ALL.iter().zip(seen);
    for (difference, count) in seen.clone() {
        println!("{count:>8} cases differ by {difference:?}");
    }
    println!("{cases:>8} cases in all, seed {seed}");
    let gone = seen.filter(|(_, count)| *count == 0);
    let gone = gone.map(|(difference, _)| difference).collect::<Vec<_>>();
    if cases >= 4000 && !gone.is_empty() {
        return Err(format!("differences that were not seen any more: {gone:?}").into());
    }
    Ok(())
}

fn blame(index: u64, seed: u64, why: &AnyError) -> AnyError {
    format!("case {index} of seed {seed}: {why}").into()
}

/// Lets both ends read a case. Says how they differ, if they may.
fn compare(peer: &mut Peer, case: &Case) -> Result<Option<Difference>, AnyError> {
    let role = if case.server { "server" } else { "client" };
    let pieces = case.pieces.iter().map(|piece| hex(piece));
    let pieces = pieces.collect::<Vec<_>>().join(",");
    let request = format!("read {role} {} {pieces}", spec(case.deflate));
    let answer = peer.ask(&request)?;
    let (theirs, more) = answer.split_once('|').ok_or("no bar")?;
    let theirs = theirs.split_whitespace().collect::<Vec<_>>();
    let (ours, rule) = if case.server {
        read(Connection::server(config(case.deflate)), case)
    } else {
        read(Connection::client(config(case.deflate), || [0; 4]), case)
    };
    let ours = ours.iter().map(String::as_str).collect::<Vec<_>>();
    match difference(&ours, rule, &theirs, more.trim()) {
        _ if case
            .expected
            .as_ref()
            .is_some_and(|expected| *expected != ours) =>
        {
            Err(format!("{request}\n ours {ours:?}\n sent {:?}", case.expected).into())
        }
        Ok(None) => Ok(None),
        // Between peers that do nothing wrong only what wsproto does wrong itself may differ.
        Ok(Some(difference))
            if case.expected.is_none()
                || matches!(
                    difference,
                    Difference::ControlBetween | Difference::Code1014
                ) =>
        {
            Ok(Some(difference))
        }
        Ok(Some(_)) | Err(()) => {
            Err(format!("{request}\n ours   {ours:?}\n theirs {theirs:?}, then {more:?}").into())
        }
    }
}

/// How the two differ, if they do, and `Err` if nothing explains it.
fn difference(
    ours: &[&str],
    rule: Option<Rule>,
    theirs: &[&str],
    more: &str,
) -> Result<Option<Difference>, ()> {
    // Behind a mark wsproto is known to go wrong; what was before must be the same.
    let marks = [
        ("!control", Difference::ControlBetween),
        ("!last-block", Difference::LastBlock),
    ];
    let marked = theirs.iter().enumerate().find_map(|(at, event)| {
        let (_, difference) = marks.iter().find(|(mark, _)| mark == event)?;
        Some((at, *difference))
    });
    if let Some((at, behind)) = marked {
        let ours = ours.get(..at).unwrap_or(ours);
        let before = difference(ours, rule, &theirs[..at], "")?;
        return Ok(before.or(Some(behind)));
    }
    if ours == theirs {
        return Ok(None);
    }
    let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let (ours, theirs) = (&ours[same..], &theirs[same..]);
    match (ours, theirs) {
        (["X:1002"], []) if more == "X:1002" => Ok(Some(Difference::Earlier)),
        (["X:1007"], _) if rule == Some(Rule::InvalidDeflate) => Ok(Some(Difference::CutShort)),
        ([close], ["X:1002"])
            if close.starts_with("C:1014:") || rule == Some(Rule::InvalidCloseReason) =>
        {
            Ok(Some(Difference::Code1014))
        }
        (["X:1002"], _)
            if matches!(
                rule,
                Some(Rule::InterleavedMessage | Rule::UnexpectedContinuation)
            ) && [theirs.first(), Some(&more)].contains(&Some(&"X:1007")) =>
        {
            Ok(Some(Difference::InflatedFirst))
        }
        _ => Err(()),
    }
}

fn spec(deflate: Option<DeflateSide>) -> String {
    match deflate {
        None => "-".into(),
        Some(side) => {
            let alone = u8::from(side.no_context_takeover);
            format!("{}:{alone}", side.max_window_bits.get())
        }
    }
}

/// No limits: wsproto has none.
fn config(deflate: Option<DeflateSide>) -> Config {
    let mut config = Config::default();
    config
        .max_frame(usize::MAX)
        .max_message(usize::MAX)
        .max_fragments(u32::MAX)
        .max_pings(u32::MAX)
        .compressed(deflate.is_some());
    config
}

/// What one of our ends sees, written as the peer writes it, and the rule that was broken.
fn read<R: Role>(mut connection: Connection<R>, case: &Case) -> (Vec<String>, Option<Rule>) {
    let mut assembler = Assembler::new(usize::MAX);
    if let Some(side) = case.deflate {
        assembler = assembler.inflating(Inflater::new(side).max_ratio(u32::MAX));
    }
    let mut seen = Vec::new();
    let broken = case.pieces.iter().try_for_each(|piece| {
        let mut bytes = piece.clone();
        let mut events = connection.push(&mut bytes, Duration::ZERO);
        while let Some(event) = events.next() {
            seen.extend(match event? {
                Event::Data(chunk) => assembler.push(chunk)?.map(|message| match message {
                    Message::Text(text) => format!("T:{}", hex(text.as_bytes())),
                    Message::Binary(bytes) => format!("B:{}", hex(&bytes)),
                }),
                Event::Ping(payload) => Some(format!("P:{}", hex(payload))),
                Event::Pong(payload) => Some(format!("O:{}", hex(payload))),
                Event::Close(frame) => {
                    let reason = hex(frame.reason.as_bytes());
                    Some(format!("C:{}:{reason}", frame.code))
                }
            });
        }
        Ok::<(), Violation>(())
    });
    let rule = broken.err().map(|violation| {
        seen.push(format!("X:{}", violation.code));
        violation.rule
    });
    (seen, rule)
}

/// wsproto writes messages, whole and in fragments, compressed or not; we read them.
fn write_to_us(peer: &mut Peer, random: &mut Random) -> Result<(), AnyError> {
    let server = random.below(2) == 0;
    let deflate = random.deflate();
    let (mut words, mut expected) = (Vec::new(), Vec::new());
    for _ in 0..1 + random.below(4) {
        let (kind, payload) = random.message();
        let letter = if kind == Kind::Text { 'T' } else { 'B' };
        expected.push(format!("{letter}:{}", hex(&payload)));
        // Text is given to wsproto as strings, so it is cut between characters.
        let mut cut = random.below(1 + payload.len());
        while kind == Kind::Text && str::from_utf8(&payload[..cut]).is_err() {
            cut -= 1;
        }
        let (head, tail) = payload.split_at(cut);
        words.push(match random.below(2) {
            0 => format!("{letter}:{}", hex(&payload)),
            _ => format!("{letter}:{},{}", hex(head), hex(tail)),
        });
    }
    let role = if server { "client" } else { "server" };
    let request = format!("send {role} {} {}", spec(deflate), words.join(" "));
    let wire = peer.ask_bytes(&request)?.concat();
    let case = Case {
        server,
        deflate,
        pieces: random.cut(&wire),
        expected: None,
    };
    let (seen, _) = if server {
        read(Connection::server(config(deflate)), &case)
    } else {
        read(Connection::client(config(deflate), || [0; 4]), &case)
    };
    if seen == expected {
        Ok(())
    } else {
        Err(format!("{request}\n ours {seen:?}\n sent {expected:?}").into())
    }
}

/// Each window, 8 included, against zlib's: it inflates ours within a window of exactly that size,
/// and we inflate its. It cannot compress with 8 bits; of 9 it uses no more than 8 have.
fn windows(peer: &mut Peer, random: &mut Random) -> Result<(), AnyError> {
    for bits in 8..=15 {
        let side = DeflateSide {
            no_context_takeover: false,
            max_window_bits: WindowBits::new(bits).ok_or("8 to 15")?,
        };
        let messages = (0..3).map(|_| random.message().1).collect::<Vec<_>>();
        let level = u8::try_from(1 + random.below(9))?;
        let mut deflater = Deflater::new(side).level(level);
        let mut compressed = Vec::new();
        for message in &messages {
            let mut connection = Connection::server(Config::default());
            let mut out = Vec::new();
            let (head, tail) = message.split_at(random.below(1 + message.len()));
            for (fragment, part) in [(Fragment::More, head), (Fragment::Last, tail)] {
                let kind = Kind::Binary;
                connection.send_fragment_compressed(
                    kind,
                    fragment,
                    part,
                    &mut deflater,
                    &mut out,
                )?;
            }
            compressed.push(hex(&generate::payloads(&out)?));
        }
        let request = format!("inflate {bits} {}", compressed.join(","));
        if peer.ask_bytes(&request)? != messages {
            return Err(format!("zlib reads something else: {request}").into());
        }

        let words = messages.iter().map(|message| hex(message));
        let words = words.collect::<Vec<_>>().join(",");
        let request = format!("deflate {} {level} {words}", bits.max(9));
        let mut wire = Vec::new();
        for message in peer.ask_bytes(&request)? {
            generate::frame(0xc2, None, &message, &mut wire);
        }
        let expected = messages.iter().map(|message| format!("B:{}", hex(message)));
        let case = Case {
            server: false,
            deflate: Some(side),
            pieces: random.cut(&wire),
            expected: None,
        };
        let connection = Connection::client(config(case.deflate), || [0; 4]);
        if read(connection, &case).0 != expected.collect::<Vec<_>>() {
            return Err(format!("with {bits} bits we read something else: {request}").into());
        }
    }
    Ok(())
}

/// The code that ends a script.
const CODES: [CloseCode; 3] = [
    CloseCode::NORMAL,
    CloseCode::GOING_AWAY,
    CloseCode::NO_STATUS,
];
