//! The store agent by itself: for tests, whose own binaries cannot become one.

fn main() {
    store::agent::serve_if_asked();
}
