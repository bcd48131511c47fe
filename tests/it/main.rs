//! Tests over real sockets, a file a topic.
