//! A slow and obvious reader of event streams, from the HTML standard's words, to judge by.

/// One block of the stream that had any field but comments.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Block {
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
}

/// The complete blocks at the start of `bytes`, and how many bytes they take.
pub(crate) fn blocks(bytes: &[u8]) -> (Vec<Block>, usize) {
    let mut blocks = Vec::new();
    let mut block = Block::default();
    let mut consumed = 0;
    let mut at = 0;
    while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&bytes[at..at + length]).expect("event streams are UTF-8");
        assert!(!line.contains('\r'), "the hub ends lines with LF alone");
        at += length + 1;
        if line.is_empty() {
            if block != Block::default() {
                blocks.push(std::mem::take(&mut block));
            }
            consumed = at;
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => {}
            "event" => block.event = Some(value.to_owned()),
            "id" => block.id = Some(value.to_owned()),
            "retry" => block.retry = value.parse().ok(),
            "data" => {
                let data = block.data.get_or_insert_default();
                data.push_str(value);
                data.push('\n');
            }
            other => panic!("the hub sent an unknown field `{other}`"),
        }
    }
    for block in &mut blocks {
        if let Some(data) = &mut block.data {
            data.pop();
        }
    }
    (blocks, consumed)
}

#[test]
fn the_reader_of_event_streams_reads_blocks_and_leaves_the_rest() {
    let stream = b"retry: 5\n: hi\nid: 1-2\n\n:\n\nevent: $gap\ndata: a\ndata:\nid: 3\n\ndata: cut";
    let (found, consumed) = blocks(stream);
    let first = Block {
        retry: Some(5),
        id: Some("1-2".into()),
        ..Block::default()
    };
    let second = Block {
        event: Some("$gap".into()),
        data: Some("a\n".into()),
        id: Some("3".into()),
        retry: None,
    };
    assert_eq!(found, [first, second]);
    assert_eq!(&stream[consumed..], b"data: cut");
}
