//! Collects the names that serde writes: `Type.field`, `Type::variant`, each with what it holds.

use std::collections::BTreeSet;

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

type Refused = serde_json::Error;

/// Adds the names in a value.
pub(super) fn collect(value: &impl Serialize, found: &mut BTreeSet<String>) {
    let names = Names {
        at: String::new(),
        found,
    };
    value.serialize(names).expect("everything has a name");
}

struct Names<'a> {
    at: String,
    found: &'a mut BTreeSet<String>,
}

impl Names<'_> {
    fn leaf(self, what: &str) {
        self.found.insert(format!("{}: {what}", self.at));
    }

    fn below(&mut self, name: &str) -> Names<'_> {
        Names {
            at: format!("{}{name}", self.at),
            found: self.found,
        }
    }

    fn moved(self, to: String) -> Self {
        self.found.insert(format!("{}: {to}", self.at));
        Self { at: to, ..self }
    }
}

/// Types with several values within.
macro_rules! structs {
    ($($method:ident)*) => {
        $(fn $method(self, name: &'static str, _len: usize) -> Result<Self, Refused> {
            Ok(self.moved(name.to_owned()))
        })*
    };
}

macro_rules! variants {
    ($($method:ident)*) => {
        $(fn $method(
            self,
            name: &'static str,
            _index: u32,
            variant: &'static str,
            _len: usize,
        ) -> Result<Self, Refused> {
            Ok(self.moved(format!("{name}::{variant}")))
        })*
    };
}

macro_rules! leaves {
    ($($method:ident($type:ty) $what:literal)*) => {
        $(fn $method(self, _value: $type) -> Result<(), Refused> {
            self.leaf($what);
            Ok(())
        })*
    };
}

macro_rules! parts {
    ($($trait:ident $method:ident)*) => {
        $(impl $trait for Names<'_> {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                value.serialize(self.below("[]"))
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        })*
    };
}

macro_rules! fields {
    ($($trait:ident)*) => {
        $(impl $trait for Names<'_> {
            type Ok = ();
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Refused> {
                value.serialize(self.below(&format!(".{name}")))
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

fields! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Names<'_> {
    type Ok = ();
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        key.serialize(self.below("{key}"))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        value.serialize(self.below("{}"))
    }

    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}

impl<'a> Serializer for Names<'a> {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Names<'a>;
    type SerializeTuple = Names<'a>;
    type SerializeTupleStruct = Names<'a>;
    type SerializeTupleVariant = Names<'a>;
    type SerializeMap = Names<'a>;
    type SerializeStruct = Names<'a>;
    type SerializeStructVariant = Names<'a>;

    leaves! {
        serialize_bool(bool) "bool"
        serialize_i8(i8) "number" serialize_i16(i16) "number"
        serialize_i32(i32) "number" serialize_i64(i64) "number"
        serialize_u8(u8) "number" serialize_u16(u16) "number"
        serialize_u32(u32) "number" serialize_u64(u64) "number"
        serialize_f32(f32) "number" serialize_f64(f64) "number"
        serialize_char(char) "text" serialize_str(&str) "text"
        serialize_bytes(&[u8]) "bytes"
        serialize_unit_struct(&'static str) "null"
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        self.leaf("null");
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Refused> {
        self.leaf("null");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Refused> {
        self.moved(format!("{name}::{variant}")).leaf("itself");
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self.moved(format!("{name}::{variant}")))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self, Refused> {
        Ok(self)
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self, Refused> {
        Ok(self)
    }

    structs! { serialize_struct serialize_tuple_struct }

    variants! { serialize_struct_variant serialize_tuple_variant }
}
