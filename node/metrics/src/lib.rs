//! What p2p-chat tells a monitor.
//!
//! - [`Counter`], [`Gauge`], [`Histogram`]: to be held by whatever counts. Counting is one or a few relaxed atomic
//!   operations, without locks, allocation or look-ups.
//! - [`Metric`], [`Page`]: what is exported, by name, and the text of one scrape (OpenMetrics 1.0).
//! - [`process`]: what the system says of this process.
//!
//! Nothing here opens a port; that is the transport's business.

mod metric;
mod page;
pub mod process;

pub use metric::{Counter, Gauge, Histogram};
pub use page::{CONTENT_TYPE, Kind, Labels, Metric, Page};
