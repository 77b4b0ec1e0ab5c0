//! Orders: made, shown, listed, and moved by their merchant.

mod ask;
mod create;
mod list;
mod moves;
mod view;

pub use ask::{ITEMS_MAX, Item, OrderAsk};
pub use list::OrderFilter;
pub(super) use list::{cursor, cursor_of};
pub use view::payment_status;
