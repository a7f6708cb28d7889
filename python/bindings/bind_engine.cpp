// SPDX-License-Identifier: Apache-2.0
//
// Engine and EngineCall. EngineCall.__call__ is the hot path from Python: it borrows the tensors,
// reshapes only when a size changed, lets PyTorch allocate the outputs and runs with the
// interpreter lock released.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "bindings.h"
#include "stator/runtime.h"
#include "tensor_exchange.h"

namespace nb = nanobind;

namespace stator {
namespace {

/// One caller of an engine. Not for two threads at once: the module keeps one for each thread.
class EngineCall {
 public:
  explicit EngineCall(std::shared_ptr<Engine> engine)
      : engine_(std::move(engine)), context_(engine_) {
    const size_t inputs = engine_->inputs().size();
    device_ = {engine_->device() == "cuda" ? dlpack::kCuda : dlpack::kCpu, engine_->device_index()};
    addresses_.resize(inputs);
    kept_.resize(inputs);
    for (const TensorInfo& info : engine_->inputs()) {
      size_count_ += info.shape.size();
    }
    sizes_.reserve(size_count_);
    scalars_.reserve(static_cast<size_t>(engine_->scalar_input_count()));
  }

  /// Tensors in order, then the scalars. Always gives a list of tensors.
  nb::list call(const nb::args& args) {
    const size_t inputs = addresses_.size();
    const auto scalars = static_cast<size_t>(engine_->scalar_input_count());
    if (args.size() != inputs + scalars) {
      throw nb::type_error(("the engine takes " + std::to_string(inputs) + " tensors and " +
                            std::to_string(scalars) + " integers, got " +
                            std::to_string(args.size()) + " arguments")
                               .c_str());
    }
    take_inputs(args);
    scalars_.clear();
    for (size_t i = 0; i < scalars; ++i) {
      scalars_.push_back(integer(args[inputs + i], i));
    }
    check_or_raise(context_.set_shapes(sizes_.data(), static_cast<int64_t>(sizes_.size()),
                                       scalars_.data(), static_cast<int64_t>(scalars_.size())));
    for (size_t i = 0; i < inputs; ++i) {
      check_or_raise(context_.set_input(static_cast<int>(i), addresses_[i]));
    }
    nb::list results = make_outputs();
    void* stream =
        device_.type == dlpack::kCuda ? TensorExchange::torch().current_stream(device_) : nullptr;
    Status status;
    {
      const nb::gil_scoped_release release;
      status = context_.run(stream);
    }
    for (nb::object& object : kept_) {
      object.reset();
    }
    check_or_raise(status);
    return results;
  }

  std::vector<std::tuple<std::string, std::string, int64_t>> profile(const nb::args& args) {
    const nb::list outputs = call(args);  // kept: the profiled run writes to them again
    take_inputs(args);
    for (size_t i = 0; i < addresses_.size(); ++i) {
      check_or_raise(context_.set_input(static_cast<int>(i), addresses_[i]));
    }
    std::vector<std::tuple<std::string, std::string, int64_t>> rows;
    for (const StepTime& step : value_or_raise(context_.profile())) {
      rows.emplace_back(step.name, step.kernel, step.ns);
    }
    return rows;
  }

  int64_t arena_bytes() const { return context_.arena_bytes(); }
  void release_memory() { context_.release_memory(); }

 private:
  void take_inputs(const nb::args& args) {
    const TensorExchange& exchange = TensorExchange::torch();
    sizes_.clear();
    for (size_t i = 0; i < addresses_.size(); ++i) {
      const TensorInfo& info = engine_->inputs()[i];
      nb::handle object = args[i];
      kept_[i].reset();  // of a call that ended in an error
      dlpack::Tensor view{};
      if (!exchange.borrow(object, &view)) {
        // A tensor that needs gradients, a subclass, a conjugate view: PyTorch makes a plain one of
        // it.
        borrow_plain(i, object, &view);
      }
      check(info, object, view);
      sizes_.insert(sizes_.end(), view.shape, view.shape + view.ndim);
      const bool dense = is_dense(view, info.order);
      if (!dense || !is_aligned(view)) {
        const nb::object plain = kept_[i];  // a local, so that it lives as long as `view`
        kept_[i] = copy_in_order(plain.is_valid() ? nb::handle(plain) : object, info, dense);
        if (!exchange.borrow(kept_[i], &view)) {
          throw nb::type_error(
              ("input '" + info.name + "' cannot be read as a dense tensor").c_str());
        }
      }
      addresses_[i] = static_cast<char*>(view.data) + view.byte_offset;
    }
  }

  /// The tensor as the engine reads it: its axes in memory order, row-major.
  static nb::object copy_in_order(nb::handle object, const TensorInfo& info, bool dense) {
    nb::object tensor = nb::getattr(object, "detach")();
    if (!info.order.empty()) tensor = tensor.attr("permute")(info.order);
    return dense ? tensor.attr("clone")() : tensor.attr("contiguous")();
  }

  void borrow_plain(size_t i, nb::handle object, dlpack::Tensor* view) {
    const std::string& name = engine_->inputs()[i].name;
    if (!nb::hasattr(object, "detach")) {
      throw nb::type_error(
          ("input '" + name + "' is " + type_name(object) + ", a torch.Tensor is expected")
              .c_str());
    }
    refuse_odd(name, object);
    kept_[i] = nb::getattr(object, "detach")().attr("resolve_conj")().attr("resolve_neg")();
    if (!TensorExchange::torch().borrow(kept_[i], view)) {
      refuse_without_memory(name, object);
    }
  }

  static bool is_empty(const dlpack::Tensor& view) {
    return std::find(view.shape, view.shape + view.ndim, 0) != view.shape + view.ndim;
  }

  [[noreturn]] static void refuse_without_memory(const std::string& name, nb::handle object) {
    throw nb::type_error(("input '" + name + "' is a " + type_name(object) +
                          " without dense memory of its own, as inside of torch.func's transforms; "
                          "give a plain tensor")
                             .c_str());
  }

  static int64_t integer(nb::handle object, size_t position) {
    int64_t value = 0;
    if (!nb::try_cast(object, value)) {
      throw nb::type_error(("integer " + std::to_string(position) + " of the engine is " +
                            type_name(object) + ", an int is expected")
                               .c_str());
    }
    return value;
  }

  static std::string text_of(nb::handle object, const char* attribute) {
    return nb::cast<std::string>(nb::str(nb::getattr(object, attribute)));
  }

  static std::string type_name(nb::handle object) {
    return nb::cast<std::string>(nb::getattr(object.type(), "__name__"));
  }

  /// Names what keeps a tensor from being read as dense memory, and the way out of it.
  static void refuse_odd(const std::string& name, nb::handle tensor) {
    std::string what;
    const std::string layout = text_of(tensor, "layout");
    if (nb::cast<bool>(nb::getattr(tensor, "is_nested"))) {
      what = "nested (" + layout + "); give a dense one, of torch.nested.to_padded_tensor";
    } else if (layout != "torch.strided") {
      what = "not dense, its layout is " + layout + "; give .to_dense()";
    } else if (nb::cast<bool>(nb::getattr(tensor, "is_quantized"))) {
      what = "quantized (" + text_of(tensor, "dtype") + "); give .dequantize()";
    } else if (nb::cast<bool>(nb::getattr(tensor, "is_meta"))) {
      what = "on the device meta, where tensors have no data; give one with data";
    } else if (type_name(tensor) == "FakeTensor") {
      what = "a FakeTensor, which has no data; call the engine outside of the FakeTensorMode";
    }
    if (!what.empty()) {
      throw nb::type_error(("input '" + name + "' is " + what).c_str());
    }
  }

  /// A GPU's kernels read 16 bytes at a time; a tensor that begins elsewhere is copied.
  bool is_aligned(const dlpack::Tensor& view) const {
    return device_.type == dlpack::kCpu ||
           (reinterpret_cast<uintptr_t>(view.data) + view.byte_offset) % 16 == 0;
  }

  void check(const TensorInfo& info, nb::handle object, const dlpack::Tensor& view) const {
    if (view.data == nullptr && !is_empty(view)) {
      refuse_odd(info.name, object);
      refuse_without_memory(info.name, object);
    }
    if (view.device.type != device_.type || view.device.id != device_.id) {
      const std::string gpu = std::to_string(device_.id);
      const std::string where =
          device_.type == dlpack::kCuda
              ? ", and this engine runs on cuda:" + gpu + "; move it with .cuda(" + gpu + ")"
              : ", and this engine runs on the CPU; move it with .cpu()";
      throw nb::value_error(
          ("input '" + info.name + "' is on " + text_of(object, "device") + where).c_str());
    }
    if (!matches(view.dtype, info.dtype)) {
      const std::string wanted = torch_dtype_name(info.dtype);
      throw nb::value_error(("input '" + info.name + "' is " + text_of(object, "dtype") +
                             " and must be " + wanted + "; cast it with .to(torch." + wanted + ")")
                                .c_str());
    }
    if (static_cast<size_t>(view.ndim) != info.shape.size()) {
      throw nb::value_error(("input '" + info.name + "' has " + std::to_string(view.ndim) +
                             " dimensions, the engine was built for " +
                             std::to_string(info.shape.size()))
                                .c_str());
    }
  }

  nb::list make_outputs() {
    const TensorExchange& exchange = TensorExchange::torch();
    nb::list results;
    const std::vector<TensorInfo>& outputs = engine_->outputs();
    for (size_t i = 0; i < outputs.size(); ++i) {
      void* data = nullptr;
      results.append(exchange.allocate(outputs[i].dtype, context_.output_shape(static_cast<int>(i)),
                                       outputs[i].order, device_, &data));
      check_or_raise(context_.set_output(static_cast<int>(i), data));
    }
    return results;
  }

  std::shared_ptr<Engine> engine_;
  ExecutionContext context_;
  dlpack::Device device_{dlpack::kCpu, 0};
  std::vector<const void*> addresses_;
  std::vector<nb::object> kept_;  // inputs that had to be copied, for the time of a call
  std::vector<int64_t> sizes_, scalars_;
  size_t size_count_ = 0;
};

std::shared_ptr<Engine> shared(std::shared_ptr<const Engine> engine) {
  return std::const_pointer_cast<Engine>(engine);
}

nb::list infos(const std::vector<TensorInfo>& tensors) {
  nb::list list;
  for (const TensorInfo& info : tensors) {
    nb::dict d;
    d["name"] = info.name;
    d["dtype"] = torch_dtype_name(info.dtype);
    d["shape"] = info.shape;
    d["symbolic_shape"] = info.symbolic_shape;
    d["least"] = info.least;
    d["greatest"] = info.greatest;
    d["order"] = info.order;
    list.append(d);
  }
  return list;
}

}  // namespace

void bind_engine(nb::module_& m) {
  nb::class_<Engine>(m, "Engine", "A compiled model: immutable, shared by threads.")
      .def_static(
          "load",
          [](const std::string& path, int device_index, bool verify_digests) {
            return shared(value_or_raise(Engine::load(path, {device_index, verify_digests})));
          },
          nb::arg("path"), nb::arg("device_index") = Engine::kCurrentDevice,
          nb::arg("verify_digests") = true)
      .def_static(
          "from_bytes",
          [](nb::bytes bytes, const std::string& name, int device_index, bool verify_digests) {
            void* writable = nullptr;
            TensorData data = TensorData::allocate(static_cast<int64_t>(bytes.size()), &writable);
            std::memcpy(writable, bytes.c_str(), bytes.size());
            return shared(value_or_raise(
                Engine::from_bytes(std::move(data), name, {device_index, verify_digests})));
          },
          nb::arg("bytes"), nb::arg("name") = "engine",
          nb::arg("device_index") = Engine::kCurrentDevice, nb::arg("verify_digests") = true)
      .def(
          "save",
          [](const Engine& e, const std::string& path, const std::string& key) {
            check_or_raise(e.save(path, key));
          },
          nb::arg("path"), nb::arg("key") = "")
      .def(
          "bytes",
          [](const Engine& e, const std::string& key) {
            const std::string bytes = value_or_raise(e.bytes(key));
            return nb::bytes(bytes.data(), bytes.size());
          },
          nb::arg("key") = "")
      .def_prop_ro("key", &Engine::key)
      .def_prop_ro("inputs", [](const Engine& e) { return infos(e.inputs()); })
      .def_prop_ro("outputs", [](const Engine& e) { return infos(e.outputs()); })
      .def_prop_ro("scalar_input_count", &Engine::scalar_input_count)
      .def_prop_ro("device", &Engine::device)
      .def_prop_ro("device_index", &Engine::device_index)
      .def_prop_ro("metadata", &Engine::metadata)
      .def_prop_ro("weight_bytes", &Engine::weight_bytes);
  nb::class_<EngineCall>(m, "EngineCall",
                         "One caller of an engine: its shapes, memory and addresses.")
      .def(nb::init<std::shared_ptr<Engine>>(), nb::arg("engine"))
      .def("__call__", &EngineCall::call)
      .def("profile", &EngineCall::profile, "One call; (step, kernel, nanoseconds) of every step.")
      .def("release_memory", &EngineCall::release_memory,
           "Gives back the memory of intermediates; the next call allocates it again.")
      .def_prop_ro("arena_bytes", &EngineCall::arena_bytes);
  m.def("set_thread_count", &set_thread_count, nb::arg("threads"));
  m.def("thread_count", &thread_count);
}

}  // namespace stator
