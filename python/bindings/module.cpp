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
  const auto make = [&m](const char* name, PyObject* base) {
    PyObject* type = PyErr_NewException((std::string("stator.") + name).c_str(), base, nullptr);
    m.attr(name) = nb::handle(type);
    return type;
  };
  classes.base = make("StatorError", PyExc_RuntimeError);
  classes.unsupported = make("UnsupportedError", classes.base);
  classes.invalid_file = make("InvalidFileError", classes.base);
  classes.incompatible = make("IncompatibleError", classes.base);
  classes.internal = make("InternalError", classes.base);
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
  stator::bind_errors(m);
  stator::bind_log(m);
  stator::bind_graph(m);
  stator::bind_engine(m);
  stator::bind_compiler(m);
}
