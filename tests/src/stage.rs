//! How the demo speaks: headings, commands, shortened output, checks. Colours only on a terminal. The demo alone uses it.

use std::io::{IsTerminal as _, Write as _};

/// Lines of a command's output that are shown.
const LINES: usize = 14;

/// Characters of a line that are shown.
const WIDTH: usize = 124;

/// Where the demo is told.
#[derive(Debug)]
pub struct Stage {
    colours: bool,
    step: usize,
}

impl Stage {
    /// Standard output.
    #[must_use]
    pub fn new() -> Self {
        let colours =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colours, step: 0 }
    }

    /// One line as it is.
    pub fn say(&self, line: &str) {
        // Whoever stops reading does not want to be told.
        let _gone = writeln!(std::io::stdout(), "{line}");
    }

    /// One line that stands back.
    pub fn aside(&self, line: &str) {
        self.say(&self.paint("2", line));
    }

    /// A title.
    pub fn title(&self, line: &str) {
        self.say(&self.paint("1", line));
    }

    /// The next step of the story, in plain words.
    pub fn step(&mut self, heading: &str) {
        self.step += 1;
        self.say("");
        self.say(&self.paint("1", &format!("{:>2}  {heading}", self.step)));
    }

    /// A command, ready to be copied.
    pub fn command(&self, command: &str) {
        self.say(&format!("    {} {}", self.paint("2", "$"), self.paint("36", command)));
    }

    /// What a command said, shortened.
    pub fn output(&self, text: &str) {
        let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        for line in lines.iter().take(LINES) {
            let shown: String = line.chars().take(WIDTH).collect();
            let rest = if shown.len() < line.len() { "…" } else { "" };
            self.aside(&format!("      {shown}{rest}"));
        }
        if lines.len() > LINES {
            self.aside(&format!("      … {} more lines", lines.len() - LINES));
        }
    }

    /// What is true now.
    pub fn good(&self, what: &str) {
        self.say(&format!("    {} {what}", self.paint("32", "✓")));
    }

    /// What did not go as told.
    pub fn bad(&self, what: &str) {
        self.say("");
        self.say(&format!("    {} {what}", self.paint("31", "✗")));
    }

    /// The number of the present step.
    #[must_use]
    pub fn number(&self) -> usize {
        self.step
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}
