// SPDX-License-Identifier: Apache-2.0
//
// MemoryWatch: whether weights in host memory still hold what an engine was built from.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "bindings.h"
#include "plan/digest.h"
#include "runtime/memory_watch.h"

namespace nb = nanobind;

namespace stator {

void bind_memory(nb::module_& m) {
  m.def(
      "digest_memory",
      [](uintptr_t address, int64_t size_bytes) {
        const nb::gil_scoped_release release;
        return digest64(reinterpret_cast<const void*>(address), size_bytes);
      },
      nb::arg("address"), nb::arg("size_bytes"), "A number that other bytes hardly have.");
  nb::class_<MemoryWatch>(m, "MemoryWatch", "Notices writes to memory, by a sample of its bytes.")
      .def(
          "__init__",
          [](MemoryWatch* self, const std::vector<std::pair<uintptr_t, int64_t>>& memory) {
            std::vector<WatchedMemory> watched;
            for (const auto& [address, size_bytes] : memory) {
              watched.push_back({reinterpret_cast<const void*>(address), size_bytes});
            }
            new (self) MemoryWatch(std::move(watched));
          },
          nb::arg("memory"),
          "Takes (address, bytes) of each piece, which its owner keeps alive while it is looked "
          "at.")
      .def("any_changed", &MemoryWatch::any_changed,
           "Whether some piece holds something else than at first.")
      .def("changed", &MemoryWatch::changed, "The positions of the pieces that do.");
}

}  // namespace stator
