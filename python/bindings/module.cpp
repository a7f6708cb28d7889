// SPDX-License-Identifier: Apache-2.0
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "base/log.h"
#include "bindings.h"
#include "tensor_exchange.h"

namespace nb = nanobind;

namespace stator {
namespace {

/// Exception classes by error code; made once by bind_errors and kept for the life of the process.
struct ErrorClasses {
  PyObject* base = nullptr;
  PyObject* unsupported = nullptr;
  PyObject* invalid_file = nullptr;
  PyObject* incompatible = nullptr;
  PyObject* internal = nullptr;
};
ErrorClasses classes;

PyObject* class_for(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return PyExc_ValueError;
    case ErrorCode::kIo:
      return PyExc_OSError;
    case ErrorCode::kUnsupported:
      return classes.unsupported;
    case ErrorCode::kInvalidFile:
      return classes.invalid_file;
    case ErrorCode::kIncompatible:
      return classes.incompatible;
    case ErrorCode::kOutOfRange:
      return PyExc_IndexError;
    case ErrorCode::kInvalidData:
      return PyExc_RuntimeError;
    case ErrorCode::kInternal:
      return classes.internal;
  }
  return classes.base;
}

}  // namespace

void raise(const Error& error) {
  PyErr_SetString(class_for(error.code), error.message.c_str());
  throw nb::python_error();
}

void bind_errors(nb::module_& m) {
  const auto make = [&m](const char* name, PyObject* base, const char* doc) {
    PyObject* type =
        PyErr_NewExceptionWithDoc((std::string("stator.") + name).c_str(), doc, base, nullptr);
    m.attr(name) = nb::handle(type);
    return type;
  };
  classes.base = make("StatorError", PyExc_RuntimeError,
                      "What Stator's compiler and runtime raise; the others derive from it.");
  classes.unsupported = make("UnsupportedError", classes.base,
                             "An engine cannot hold something, and nothing else may run it.");
  classes.invalid_file = make("InvalidFileError", classes.base,
                              "A file is damaged, or is none of the kind that is read.");
  classes.incompatible = make("IncompatibleError", classes.base,
                              "An engine of another version, machine or GPU architecture.");
  classes.internal = make("InternalError", classes.base,
                          "A mistake of Stator itself, or an error that a driver reports.");
}

/// Lines of the C++ part go to `callback(level, message)`; Python's logging levels.
void bind_log(nb::module_& m) {
  m.def(
      "set_log_callback",
      [](nb::object callback) {
        // Leaked on purpose: lines may come until the last thread ends.
        auto* kept = new nb::object(std::move(callback));
        set_log_sink([kept](LogLevel level, const std::string& message) {
          if (Py_IsInitialized() == 0) {
            return;
          }
          const nb::gil_scoped_acquire lock;
          (*kept)(static_cast<int>(level), message);
        });
      },
      nb::arg("callback"));
  m.def(
      "set_log_level", [](int level) { set_log_level(static_cast<LogLevel>(level)); },
      nb::arg("level"));
  m.def("set_tensor_type", &TensorExchange::set_torch, nb::arg("tensor_type"),
        "Gives the class torch.Tensor, whose exchange table the module uses.");
}

}  // namespace stator

NB_MODULE(_native, m) {
  m.doc() = "Stator's compiler and runtime.";
  nb::set_leak_warnings(false);
  m.attr("__version__") = STATOR_VERSION;
  stator::bind_errors(m);
  stator::bind_log(m);
  stator::bind_graph(m);
  stator::bind_engine(m);
  stator::bind_memory(m);
  stator::bind_compiler(m);
}
