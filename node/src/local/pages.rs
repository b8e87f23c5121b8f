//! A stream that is filled by the page: one hand-over between tasks for many messages.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    vec::IntoIter,
};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

/// Pages that may wait for a slow reader: each of what one look at the log gives, a MiB of texts at most.
const BUFFER: usize = 16;

/// Where pages, or the error that ends the stream, are put in.
pub(super) type PageSender<T> = mpsc::Sender<Result<Vec<T>, Status>>;

/// What comes out, one by one.
pub(super) struct Pages<T> {
    pages: mpsc::Receiver<Result<Vec<T>, Status>>,
    page: IntoIter<T>,
}

/// A stream, and what fills it.
pub(super) fn pages<T>() -> (PageSender<T>, Pages<T>) {
    let (sender, pages) = mpsc::channel(BUFFER);
    (sender, Pages { pages, page: Vec::new().into_iter() })
}

impl<T: Unpin> Stream for Pages<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(item) = self.page.next() {
                return Poll::Ready(Some(Ok(item)));
            }
            match ready!(self.pages.poll_recv(context)) {
                Some(Ok(page)) => self.page = page.into_iter(),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    #[tokio::test]
    async fn pages_come_out_item_by_item_with_the_error_in_its_place() {
        let (sender, mut stream) = pages();
        for page in [Ok(vec![1, 2]), Ok(Vec::new()), Ok(vec![3]), Err(Status::data_loss("damaged"))] {
            sender.send(page).await.unwrap();
        }
        drop(sender);
        for item in 1..=3 {
            assert_eq!(stream.next().await.unwrap().unwrap(), item);
        }
        assert_eq!(stream.next().await.unwrap().unwrap_err().code(), tonic::Code::DataLoss);
        assert!(stream.next().await.is_none());
    }
}
