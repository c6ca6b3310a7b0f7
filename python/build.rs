//! What a linker has to know of a module that an interpreter loads. Only macOS needs it.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
