//! Reads the head of an `AdmissionReview` that is too large, incomplete, late or broken: enough to answer it.
//!
//! The API server writes a review's uid, resource, namespace, operation and user before the object. Reading them needs
//! neither the rest nor that the rest is right.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::request::GroupVersionResource;
use crate::json::Text;

/// The number of bytes that are read of a head. Where `request.uid` is not among them there is no head.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The names in the first bytes of a review. A field is empty if those bytes do not hold it.
#[derive(Debug, Default)]
pub struct Head<'a> {
    pub(super) api_version: Text<'a>,
    pub(super) kind: Text<'a>,
    pub(super) uid: Text<'a>,
    pub(super) operation: Text<'a>,
    pub(super) resource: GroupVersionResource<'a>,
    pub(super) sub_resource: Text<'a>,
    pub(super) namespace: Text<'a>,
    pub(super) name: Text<'a>,
    pub(super) user: Text<'a>,
    pub(super) groups: Vec<Text<'a>>,
    pub(super) dry_run: bool,
}

impl<'a> Head<'a> {
    /// Reads the first [`MAX_HEAD_BYTES`] of `body`, as far as they are JSON. Returns `None` if they name no uid, or if
    /// they name another kind or version than an `AdmissionReview` that can be answered.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Option<Self> {
        let mut head = Self::default();
        let bytes = &body[..body.len().min(MAX_HEAD_BYTES)];
        // The error marks the end of the head. What was read before it is valid.
        let reader = HeadReader { part: ReviewPart::Review, head: &mut head };
        let _ = reader.deserialize(&mut serde_json::Deserializer::from_slice(bytes));
        let is_review = matches!(&*head.kind, "AdmissionReview" | "");
        let is_spoken = matches!(&*head.api_version, "admission.k8s.io/v1" | "admission.k8s.io/v1beta1" | "");
        (is_review && is_spoken && !head.uid.is_empty()).then_some(head)
    }
}

/// The objects of a review that are read.
#[derive(Clone, Copy)]
enum ReviewPart {
    Review,
    Request,
    User,
}

/// Writes the members of one object into the head, one after the other, so that those before an error are kept.
struct HeadReader<'h, 'a> {
    part: ReviewPart,
    head: &'h mut Head<'a>,
}

impl<'de> HeadReader<'_, 'de> {
    fn enter<A: MapAccess<'de>>(&mut self, part: ReviewPart, access: &mut A) -> Result<(), A::Error> {
        access.next_value_seed(HeadReader { part, head: self.head })
    }
}

impl<'de> DeserializeSeed<'de> for HeadReader<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeadReader<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        while let Some(key) = access.next_key::<Text>()? {
            match (self.part, &*key) {
                (ReviewPart::Review, "kind") => self.head.kind = access.next_value()?,
                (ReviewPart::Review, "apiVersion") => self.head.api_version = access.next_value()?,
                (ReviewPart::Review, "request") => self.enter(ReviewPart::Request, &mut access)?,
                (ReviewPart::Request, "uid") => self.head.uid = access.next_value()?,
                (ReviewPart::Request, "operation") => self.head.operation = access.next_value()?,
                (ReviewPart::Request, "resource") => self.head.resource = access.next_value()?,
                (ReviewPart::Request, "subResource") => self.head.sub_resource = access.next_value()?,
                (ReviewPart::Request, "namespace") => self.head.namespace = access.next_value()?,
                (ReviewPart::Request, "name") => self.head.name = access.next_value()?,
                (ReviewPart::Request, "dryRun") => self.head.dry_run = access.next_value()?,
                (ReviewPart::Request, "userInfo") => self.enter(ReviewPart::User, &mut access)?,
                (ReviewPart::User, "username") => self.head.user = access.next_value()?,
                (ReviewPart::User, "groups") => self.head.groups = access.next_value()?,
                _ => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVIEW: &str = r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"u-1",
        "kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},
        "subResource":"resize","name":"p","namespace":"workflows","operation":"UPDATE",
        "userInfo":{"username":"jane","groups":["dev"]},"object":{"namespace":"other","uid":"not-this"}}}"#;

    fn parts<'h>(head: &'h Head) -> [&'h str; 7] {
        let Head { uid, operation, resource, sub_resource, namespace, name, user, .. } = head;
        [uid, operation, &resource.resource, sub_resource, namespace, name, user]
    }

    #[test]
    fn a_whole_review_names_all_of_it() {
        let head = Head::read(REVIEW.as_bytes()).unwrap();
        assert_eq!(parts(&head), ["u-1", "UPDATE", "pods", "resize", "workflows", "p", "jane"]);
        assert_eq!(&*head.groups[0], "dev");
    }

    #[test]
    fn what_stands_before_the_cut_is_kept() {
        let uid_end = REVIEW.find("u-1").unwrap() + 4;
        let namespace_end = REVIEW.find("workflows").unwrap() + 10;
        for end in 0..REVIEW.len() {
            let head = Head::read(&REVIEW.as_bytes()[..end]);
            assert_eq!(head.is_some(), end >= uid_end, "cut at {end}");
            let Some(head) = head else { continue };
            assert_eq!(&*head.uid, "u-1", "cut at {end}");
            let namespace = if end >= namespace_end { "workflows" } else { "" };
            assert_eq!(&*head.namespace, namespace, "cut at {end}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_end_the_head() {
        let mut broken = REVIEW.as_bytes().to_vec();
        let at = REVIEW.find("jane").unwrap();
        broken[at] = 0xff;
        let head = Head::read(&broken).unwrap();
        assert_eq!((&*head.namespace, &*head.user), ("workflows", ""));
    }

    #[test]
    fn only_the_first_bytes_are_read() {
        let late =
            REVIEW.replacen("{\"uid\"", &format!("{{\"x\":\"{}\",\"uid\"", "x".repeat(MAX_HEAD_BYTES)), 1);
        assert!(Head::read(late.as_bytes()).is_none());
    }

    #[test]
    fn another_kind_or_version_has_no_head() {
        for (from, to) in [("AdmissionReview", "Pod"), ("admission.k8s.io/v1", "admission.k8s.io/v2")] {
            assert!(Head::read(REVIEW.replacen(from, to, 1).as_bytes()).is_none(), "{to}");
        }
        for body in ["", "hello", "null", "[]", "{}", r#"{"request":{"uid":""}}"#, r#"{"request":{"uid":7}}"#]
        {
            assert!(Head::read(body.as_bytes()).is_none(), "{body}");
        }
    }
}
