//! A page in Chromium.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Tool, tool};

use crate::program::Program;

pub(crate) struct Browser {
    program: Program,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(tool(Tool::Node));
        command
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/e2e/browser.cjs"
            ))
            .arg(tool(Tool::Chromium))
            .env("NODE_PATH", tool(Tool::NodeModules));
        let program = Program::start(command);
        assert_eq!(program.line(), "ready");
        Self { program }
    }

    #[track_caller]
    fn command(&mut self, command: &Value) -> Value {
        self.program.write(&format!("{command}\n"));
        let answer: Value = serde_json::from_str(&self.program.line()).expect("it answers in JSON");
        match &answer["failed"] {
            Value::Null => answer["ok"].clone(),
            why => panic!("{command}: {why}; the page said {:#?}", self.said()),
        }
    }

    #[track_caller]
    pub(crate) fn open(&mut self, url: &str) {
        self.command(&json!({ "do": "open", "url": url }));
    }

    /// The value of a JavaScript expression; a promise is awaited.
    #[track_caller]
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        self.command(&json!({ "do": "evaluate", "expression": expression }))
    }

    /// Waits until a JavaScript expression is true.
    #[track_caller]
    pub(crate) fn wait(&mut self, expression: &str) {
        self.command(&json!({ "do": "wait", "expression": expression }));
    }

    #[track_caller]
    pub(crate) fn fill(&mut self, selector: &str, text: &str) {
        self.command(&json!({ "do": "fill", "selector": selector, "text": text }));
    }

    #[track_caller]
    pub(crate) fn press(&mut self, selector: &str, key: &str) {
        self.command(&json!({ "do": "press", "selector": selector, "key": key }));
    }

    #[track_caller]
    pub(crate) fn click(&mut self, selector: &str) {
        self.command(&json!({ "do": "click", "selector": selector }));
    }

    /// Prefers `light` or `dark`.
    #[track_caller]
    pub(crate) fn prefer(&mut self, scheme: &str) {
        self.command(&json!({ "do": "media", "scheme": scheme }));
    }

    #[track_caller]
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        self.command(&json!({ "do": "size", "width": width, "height": height }));
    }

    /// Saves a picture of the whole page under the target directory.
    #[track_caller]
    pub(crate) fn screenshot(&mut self, name: &str) -> PathBuf {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        self.command(&json!({ "do": "screenshot", "path": path }));
        path
    }

    /// What the page wrote to the console, uncaught errors included.
    #[track_caller]
    pub(crate) fn said(&mut self) -> Vec<String> {
        self.program.write("{\"do\":\"said\"}\n");
        let answer: Value = serde_json::from_str(&self.program.line()).expect("it answers in JSON");
        serde_json::from_value(answer["ok"].clone()).expect("a list of texts")
    }
}
