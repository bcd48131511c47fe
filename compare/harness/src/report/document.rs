//! A page, before it is decided how it is rendered.

/// The folder beside the page in which its plots are.
pub const PLOTS: &str = "comparison";

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// What follows.
    pub blocks: Vec<Block>,
}

/// A part of a page.
#[derive(Clone, Debug)]
pub enum Block {
    /// A heading of level 2 or 3, with a name to link to.
    Heading(u8, String, String),
    /// Sentences.
    Paragraph(Text),
    /// One thing below the other.
    List(Vec<Text>),
    /// A table.
    Table(Table),
    /// A picture.
    Plot(Plot),
}

/// A table. What stands first in a row is its name; the rest is numbers, unless it is said to be text.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<Text>,
    /// As many texts each.
    pub rows: Vec<Vec<Text>>,
    /// Columns are to be read, not compared.
    pub is_text: bool,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Its name.
    pub name: &'static str,
    /// The question to which it belongs.
    pub question: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The picture.
    pub svg: String,
}

/// Words in a row, of different kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text(pub Vec<Span>);

/// Words of one kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// As they are.
    Plain(String),
    /// What to see first.
    Strong(String),
    /// What must not be overlooked.
    Alarm(String),
    /// What is typed.
    Code(String),
    /// What may be overlooked.
    Small(String),
    /// A link to a heading on this page: its words, and the heading's name.
    Link(String, String),
}

impl Plot {
    /// The name of its file.
    pub fn file(&self) -> String {
        format!("{}.svg", self.name)
    }
}

impl Table {
    /// A table of words.
    pub fn of_text(columns: &[&str], rows: Vec<Vec<Text>>) -> Table {
        Table { columns: columns.iter().copied().map(Text::from).collect(), rows, is_text: true }
    }
}

impl<S: Into<String>> From<S> for Text {
    fn from(words: S) -> Text {
        Text::default().plain(words)
    }
}

impl Text {
    /// And then these.
    pub fn plain(self, words: impl Into<String>) -> Text {
        self.and(Span::Plain(words.into()))
    }

    /// And then, to be seen first, these.
    pub fn strong(self, words: impl Into<String>) -> Text {
        self.and(Span::Strong(words.into()))
    }

    /// And then, not to be overlooked, these.
    pub fn alarm(self, words: impl Into<String>) -> Text {
        self.and(Span::Alarm(words.into()))
    }

    /// And then, as typed, these.
    pub fn code(self, words: impl Into<String>) -> Text {
        self.and(Span::Code(words.into()))
    }

    /// And then, in parentheses, these.
    pub fn small(self, words: impl Into<String>) -> Text {
        self.and(Span::Small(words.into()))
    }

    /// And then a link to a heading.
    pub fn link(self, words: impl Into<String>, heading: impl Into<String>) -> Text {
        self.and(Span::Link(words.into(), heading.into()))
    }

    fn and(mut self, span: Span) -> Text {
        self.0.push(span);
        self
    }

    /// These, with commas between them.
    pub fn joined(texts: impl IntoIterator<Item = Text>) -> Text {
        let mut all = Text::default();
        for text in texts {
            if !all.0.is_empty() {
                all = all.plain(", ");
            }
            all.0.extend(text.0);
        }
        all
    }
}
