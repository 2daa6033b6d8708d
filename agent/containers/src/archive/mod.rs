//! Files of containers, from outside: copied out and in (`cp`, `export`), and compared with their
//! image (`diff`). A container may be hostile and may change its files meanwhile: no path is handed to
//! the kernel but relative to a folder that is open, links are followed inside the container only,
//! and what is read or made is never a link.

pub mod changes;
mod pack;
mod place;
mod stat;
mod unpack;
mod view;

pub use pack::{pack, pack_root};
pub use place::Place;
pub use stat::path_stat;
pub use unpack::{Unpacking, unpack};
pub use view::{Layers, View};
