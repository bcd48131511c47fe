//! A page, independent of its output format.

/// Name of the directory next to the page, for its plots.
pub const PLOTS: &str = "comparison";

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Title.
    pub title: String,
    /// Content.
    pub blocks: Vec<Block>,
}

/// An element of a page.
#[derive(Clone, Debug)]
pub enum Block {
    /// A heading: level (2 or 3), link target, text.
    Heading(u8, String, String),
    /// A paragraph.
    Paragraph(Text),
    /// An unordered list.
    List(Vec<Text>),
    /// A table.
    Table(Table),
    /// A plot.
    Plot(Plot),
}

/// A table. The first column names the rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Column headings.
    pub columns: Vec<Text>,
    /// Rows, each with one text per column.
    pub rows: Vec<Vec<Text>>,
    /// Whether the columns are prose; otherwise they are numbers.
    pub is_text: bool,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// Name, also of its file.
    pub name: &'static str,
    /// ID of the question it belongs to.
    pub question: &'static str,
    /// Title.
    pub title: &'static str,
    /// The image as SVG.
    pub svg: String,
}

/// Text with inline formatting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text(pub Vec<Span>);

/// A run of text with one format.
#[derive(Clone, Debug, PartialEq)]
pub enum Span {
    /// Unformatted text.
    Plain(String),
    /// Emphasized text.
    Strong(String),
    /// A warning.
    Warning(String),
    /// Code.
    Code(String),
    /// Secondary text.
    Small(String),
    /// A link within the page: text, target.
    Link(String, String),
}

impl Plot {
    /// Returns the file name.
    pub fn file(&self) -> String {
        format!("{}.svg", self.name)
    }
}

impl Table {
    /// Returns a table whose columns are prose.
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
    /// Appends unformatted text.
    pub fn plain(self, words: impl Into<String>) -> Text {
        self.and(Span::Plain(words.into()))
    }

    /// Appends emphasized text.
    pub fn strong(self, words: impl Into<String>) -> Text {
        self.and(Span::Strong(words.into()))
    }

    /// Appends a warning.
    pub fn warning(self, words: impl Into<String>) -> Text {
        self.and(Span::Warning(words.into()))
    }

    /// Appends code.
    pub fn code(self, words: impl Into<String>) -> Text {
        self.and(Span::Code(words.into()))
    }

    /// Appends secondary text, in parentheses or small print.
    pub fn small(self, words: impl Into<String>) -> Text {
        self.and(Span::Small(words.into()))
    }

    /// Appends a link to a heading.
    pub fn link(self, words: impl Into<String>, heading: impl Into<String>) -> Text {
        self.and(Span::Link(words.into(), heading.into()))
    }

    fn and(mut self, span: Span) -> Text {
        self.0.push(span);
        self
    }

    /// Joins texts with commas.
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
