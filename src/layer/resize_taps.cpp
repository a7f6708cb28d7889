// SPDX-License-Identifier: Apache-2.0
#include "layer/resize_taps.h"

#include <algorithm>
#include <cmath>

namespace stator {
namespace {

bool is_nearest(const Resize& resize) { return resize_tap_count(resize.mode) == 1; }

/// Small images have a kernel of their own (_use_vectorized_kernel_cond_2d and 3d), which rounds
/// otherwise, and which knows images that keep their size, or twice that, whatever the step is.
bool has_small_kernel(const Resize& resize) {
  int64_t sum = 0;
  for (const Expr& size : resize.size) {
    sum += size.is_constant() ? size.constant() : 0;
  }
  return is_nearest(resize) && resize.size.size() > 1 &&
         sum <= (resize.size.size() == 2 ? 128 : 256);
}

ResizeTaps nearest_of_small(const Resize& resize, size_t k, int64_t in, int64_t out) {
  const double given = given_step(resize, k);
  const float step =
      given > 0 ? static_cast<float>(given) : static_cast<float>(in) / static_cast<float>(out);
  ResizeTaps taps;
  taps.weights.assign(static_cast<size_t>(out), 1.0);
  for (int64_t i = 0; i < out; ++i) {
    int64_t place = 0;
    if (resize.mode == ResizeMode::kNearestExact) {
      place = static_cast<int64_t>(
          std::floor(static_cast<float>((static_cast<double>(i) + 0.5) * step)));
    } else {
      place = out == in       ? i
              : out == 2 * in ? i / 2
                              : static_cast<int64_t>(std::floor(static_cast<float>(i) * step));
    }
    taps.places.push_back(static_cast<int32_t>(std::min(place, in - 1)));
  }
  return taps;
}

template <typename Real>
Real step_of(const Resize& resize, size_t k, int64_t in, int64_t out) {
  if (resize.align_corners && !is_nearest(resize)) {
    return out > 1 ? static_cast<Real>(in - 1) / static_cast<Real>(out - 1) : Real(0);
  }
  const double given = given_step(resize, k);
  if (given > 0) {
    return resize.mode == ResizeMode::kLinear && in == out ? Real(1) : static_cast<Real>(given);
  }
  return static_cast<Real>(in) / static_cast<Real>(out);
}

/// Keys' kernel with a = -3/4 at -1 - t, -t, 1 - t and 2 - t.
template <typename Real>
void cubic_weights(Real t, double* weights, int64_t stride) {
  constexpr auto a = static_cast<Real>(-0.75);
  const auto near = [](Real x) { return ((a + 2) * x - (a + 3)) * x * x + 1; };
  const auto far = [](Real x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  weights[0] = far(t + 1);
  weights[stride] = near(t);
  weights[2 * stride] = near(1 - t);
  weights[3 * stride] = far(1 - t + 1);
}

template <typename Real>
ResizeTaps taps_of(const Resize& resize, size_t k, int64_t in, int64_t out) {
  ResizeTaps taps;
  taps.count = resize_tap_count(resize.mode);
  taps.places.resize(static_cast<size_t>(taps.count * out));
  taps.weights.assign(taps.places.size(), 1.0);
  const Real step = step_of<Real>(resize, k, in, out);
  const auto put = [&](int tap, int64_t i, int64_t place) {
    taps.places[static_cast<size_t>(tap * out + i)] =
        static_cast<int32_t>(std::clamp<int64_t>(place, 0, in - 1));
  };
  for (int64_t i = 0; i < out; ++i) {
    const auto position = static_cast<Real>(i);
    const bool by_corners = resize.align_corners || resize.mode == ResizeMode::kNearest;
    Real at = by_corners ? step * position : std::fma(step, position + Real(0.5), Real(-0.5));
    if (resize.mode != ResizeMode::kCubic) {
      at = std::max(at, Real(0));
    }
    if (taps.count == 1) {  // rounded to float32 whatever the type is
      at = static_cast<float>(resize.mode == ResizeMode::kNearest ? at : at + Real(0.5));
    }
    const auto low = std::min<int64_t>(static_cast<int64_t>(std::floor(at)), in - 1);
    if (taps.count == 1) {
      put(0, i, low);
      continue;
    }
    const Real part = std::clamp(at - static_cast<Real>(low), Real(0), Real(1));
    double* weights = &taps.weights[static_cast<size_t>(i)];
    if (taps.count == 2) {
      put(0, i, low);
      put(1, i, low + 1);
      weights[0] = 1 - part;
      weights[out] = part;
    } else {
      for (int tap = 0; tap < 4; ++tap) put(tap, i, low + tap - 1);
      cubic_weights(part, weights, out);
    }
  }
  return taps;
}

}  // namespace

int resize_tap_count(ResizeMode mode) {
  return mode == ResizeMode::kLinear ? 2 : mode == ResizeMode::kCubic ? 4 : 1;
}

double given_step(const Resize& resize, size_t k) {
  return resize.scale.size() > k && resize.scale[k] > 0 ? resize.scale[k] : 0.0;
}

ResizeTaps resize_taps(const Resize& resize, size_t k, int64_t in, int64_t out, bool wide) {
  in = std::max<int64_t>(in, 1);  // of an empty axis nothing is read
  if (has_small_kernel(resize)) {
    return nearest_of_small(resize, k, in, out);
  }
  return wide ? taps_of<double>(resize, k, in, out) : taps_of<float>(resize, k, in, out);
}

}  // namespace stator
