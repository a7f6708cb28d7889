// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/tile_operands.h"

#include <algorithm>

#include "backends/cuda/codegen/source_text.h"
#include "base/check.h"
#include "base/float_element.h"

namespace stator::cuda {
namespace {

constexpr int64_t kLongestBox = 256;                    // elements along a dim, steps over included
constexpr int64_t kCachedElements = int64_t{10} << 20;  // halves that stay in a GPU's cache

std::string constant(const std::string& name, int64_t value) {
  return "  constexpr int " + name + " = " + num(value) + ";\n";
}

std::string size(const Expr& e, const KernelScope& scope) {
  SourceWriter unused;
  return "(int)(" + OpPrinter(scope, unused, "").index(e, PrintPoint{}, "") + ")";
}

/// Tensor maps move pairs of bytes like halves.
DType moved_as(DType dtype) { return is_byte(dtype) ? DType::kFloat16 : dtype; }

int64_t steps_of(int64_t depth) { return (depth + kTileDepth - 1) / kTileDepth; }

/// Statements that take `row` apart into the epilogue's indices, and these.
std::string take_row_apart(const LoopRequest& request, const KernelScope& scope,
                           std::vector<std::string>* index) {
  const std::vector<LoopDim>& dims = request.program->dims;
  index->assign(dims.size() - 1, "0");
  SourceWriter out;
  std::string rest = "row";
  for (size_t k = dims.size() - 1; k-- > 0;) {
    if (dims[k].extent.is_constant(1)) continue;
    bool first = true;
    for (size_t j = 0; j < k; ++j) first = first && dims[j].extent.is_constant(1);
    const std::string extent = OpPrinter(scope, out, "").index(dims[k].extent, PrintPoint{}, "");
    const std::string name = "i" + num(static_cast<int64_t>(k));
    out.line("const " + scope.index_type + " " + name + " = " +
             (first ? rest : rest + " % " + extent) + ";");
    (*index)[k] = name;
    if (!first) {
      out.line("const " + scope.index_type + " rest" + name + " = " + rest + " / " + extent + ";");
      rest = "rest" + name;
    }
  }
  return out.text();
}

/// An image convolution with its sizes as numbers; one dim counts as a picture of one row.
struct Image {
  int64_t height = 1, width = 1;        // of y
  int64_t in_height = 1, in_width = 1;  // of x
  int64_t kernel_y = 1, kernel_x = 1;
  int64_t stride_y = 1, stride_x = 1, step_y = 1, step_x = 1, pad_y = 0, pad_x = 0;
  int64_t depth = 0;  // neighbouring elements of x for each tap of the kernel
  int64_t pixels_apart = 0, rows_apart = 0, images_apart = 0;  // elements of x
  int64_t results = 0;
};

bool known(const std::vector<Expr>& shape) {
  return std::all_of(shape.begin() + 1, shape.end(),
                     [](const Expr& e) { return e.is_constant() && e.constant() > 0; });
}

/// Where few channels leave a step half empty and a window's row lies within x, that row is one
/// tap: x as seen from each result, rows of windows that overlap.
void take_window_rows(bool within, Image* i) {
  const int64_t row = i->kernel_x * i->depth;
  if (!within || i->step_x != 1 || steps_of(row) >= i->kernel_x * steps_of(i->depth)) return;
  i->in_width = i->width;
  i->pixels_apart *= i->stride_x;
  i->depth = row;
  i->kernel_x = i->stride_x = 1;
}

Image image_of(const ConvolutionContraction& c) {
  const Convolution& a = c.attributes;
  const size_t x = a.stride.size() - 1;
  Image i;
  i.results = c.w_shape[0].constant();
  i.depth = i.pixels_apart = c.w_shape[1].constant() / (is_byte(c.dtype) ? 2 : 1);
  i.width = c.y_shape[x + 1].constant();
  i.in_width = c.x_shape[x + 1].constant();
  i.kernel_x = c.w_shape[x + 2].constant();
  i.stride_x = a.stride[x];
  i.step_x = a.dilation[x];
  i.pad_x = a.pad_before[x];
  i.rows_apart = i.images_apart = i.in_width * i.pixels_apart;
  if (x == 1) {
    i.height = c.y_shape[1].constant();
    i.in_height = c.x_shape[1].constant();
    i.kernel_y = c.w_shape[2].constant();
    i.stride_y = a.stride[0];
    i.step_y = a.dilation[0];
    i.pad_y = a.pad_before[0];
    i.images_apart *= i.in_height;
  }
  take_window_rows(i.pad_x == 0 && a.pad_after[x] == 0, &i);
  return i;
}

/// A box of results: the widths along x, y and images whose tiles waste least.
struct Box {
  int64_t x = 1, y = 1, images = 1;
};

Box box_of(const Image& i, const Expr& images, int64_t rows) {
  Box best;
  int64_t fewest = INT64_MAX;
  const auto ceil = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
  for (int64_t x = std::min({i.width, rows, kLongestBox / i.stride_x}); x >= 1; --x) {
    Box box;
    box.x = x;
    box.y = std::min({i.height, rows / x, kLongestBox / i.stride_y});
    if (x == i.width && box.y == i.height) {
      box.images = rows / (box.x * box.y);
      if (images.is_constant()) {
        box.images = std::min(box.images, std::max<int64_t>(1, images.constant()));
      }
    }
    // Tiles for a number of images that every box divides.
    const int64_t tiles =
        ceil(i.width, box.x) * ceil(i.height, box.y) * (int64_t{5040} * 16 / box.images);
    if (tiles < fewest) {
      fewest = tiles;
      best = box;
    }
  }
  return best;
}

Expr row_tiles(const ConvolutionContraction& c, const Box& box) {
  const Image i = image_of(c);
  return ceil_div(Expr(i.width), Expr(box.x)) * ceil_div(Expr(i.height), Expr(box.y)) *
         ceil_div(c.y_shape[0], Expr(box.images));
}

}  // namespace

int64_t tile_steps(const TiledProduct& p) {
  if (!p.n.is_constant() || !p.k.is_constant()) return 0;
  if (is_byte(p.dtype) ? !p.b_transposed : !is_half(p.dtype)) return 0;
  const bool fits = (p.n.constant() % 8 == 0 || p.b_transposed) && p.n.constant() > 0 &&
                    p.k.constant() > 0 && is_multiple(p.a_offset, 8) && is_multiple(p.lda, 8) &&
                    is_multiple(p.b_offset, 8) && is_multiple(p.ldb, 8);
  return fits ? steps_of(p.k.constant()) : 0;
}

int64_t tile_steps(const ConvolutionContraction& c) {
  const Convolution& a = c.attributes;
  if ((!is_half(c.dtype) && !is_byte(c.dtype)) || a.transposed || a.groups != 1 || !c.w_constant ||
      a.stride.size() > 2 || !known(c.x_shape) || !known(c.y_shape)) {
    return 0;
  }
  const Image i = image_of(c);
  if (i.pixels_apart % 8 != 0 || i.results % 8 != 0 || i.stride_x > 8 || i.stride_y > 8) return 0;
  return i.kernel_x * i.kernel_y * steps_of(i.depth);
}

Expr tile_count(const TiledProduct& p, const TileShape& shape) {
  return ceil_div(p.m, Expr(64 * shape.groups)) * ceil_div(p.n, Expr(shape.columns));
}

Expr tile_count(const ConvolutionContraction& c, const TileShape& shape) {
  return row_tiles(c, box_of(image_of(c), c.y_shape[0], 64 * shape.groups)) *
         ceil_div(c.w_shape[0], Expr(shape.columns));
}

TileOperands operands_of(const TiledProduct& p, const LoopRequest& request,
                         const KernelScope& scope, const TileShape& shape) {
  STATOR_CHECK(tile_steps(p) > 0 && (p.b_transposed || shape.columns % 64 == 0),
               request.name + " is no product for tiles");
  TileOperands o;
  o.dtype = p.dtype;
  o.columns = p.n.constant();
  o.steps = tile_steps(p);
  o.box_rows = 64 * shape.groups;
  o.row_tiles = ceil_div(p.m, Expr(o.box_rows));
  o.b_rows_along_k = !p.b_transposed;
  o.b_constant = p.b_constant;
  // Blocks that run at once should read the smaller operand again and again, not the larger.
  o.down_first = p.m.is_constant() && p.m.constant() < p.n.constant() &&
                 p.n.constant() * p.k.constant() > kCachedElements;
  o.constants = "  const int M = " + size(p.m, scope) + ";\n";
  o.origin = "  const int first_row = tile * BM;\n";
  o.copy_a = "copy_box(at, a.maps[0], ready, t * 64, first_row, 0, 0);\n";
  o.copy_b = p.b_transposed
                 ? "copy_box(at + A_BYTES, a.maps[1], ready, t * 64, first_column, 0, 0);\n"
                 : "#pragma unroll\nfor (int p = 0; p < BN / 64; ++p) copy_box(at + A_BYTES + p * "
                   "8192, a.maps[1], ready, first_column + p * 64, t * 64, 0, 0);\n";
  o.place = "const " + scope.index_type + " row = first_row + tile_row;\n" +
            "const bool inside = row < M;\n" + take_row_apart(request, scope, &o.index);
  const int b_rows = p.b_transposed ? shape.columns : kTileDepth;
  o.maps = {{p.a, moved_as(p.dtype), {kTileDepth, o.box_rows, 1, 1}, {1, 1, 1, 1}},
            {p.b, moved_as(p.dtype), {kTileDepth, b_rows, 1, 1}, {1, 1, 1, 1}}};
  const Expr fast = p.b_transposed ? p.k : p.n, slow = p.b_transposed ? p.n : p.k;
  o.map_sizes = {p.a_offset, p.k,  p.m,  1, 1, p.lda, 0, 0,  //
                 p.b_offset, fast, slow, 1, 1, p.ldb, 0, 0};
  return o;
}

TileOperands operands_of(const ConvolutionContraction& c, const LoopRequest& request,
                         const KernelScope& scope, const TileShape& shape) {
  STATOR_CHECK(tile_steps(c) > 0, request.name + " is no convolution for tiles");
  const Image i = image_of(c);
  const Box box = box_of(i, c.y_shape[0], 64 * shape.groups);
  TileOperands o;
  o.dtype = c.dtype;
  o.columns = i.results;
  o.steps = tile_steps(c);
  o.box_rows = static_cast<int>(box.x * box.y * box.images);
  o.row_tiles = row_tiles(c, box);
  o.b_constant = true;
  o.constants = constant("TX", box.x) + constant("TY", box.y) + constant("OX", i.width) +
                constant("OY", i.height) + "  const int IMAGES = " + size(c.y_shape[0], scope) +
                ";\n";
  o.origin =
      "  const int x0 = tile % ((OX + TX - 1) / TX) * TX;\n"
      "  const int y0 = tile / ((OX + TX - 1) / TX) % ((OY + TY - 1) / TY) * TY;\n"
      "  const int image0 = tile / (((OX + TX - 1) / TX) * ((OY + TY - 1) / TY)) * " +
      num(box.images) + ";\n";
  const std::string slices = num(steps_of(i.depth));
  o.copy_a = "const int tap = t / " + slices + ";\ncopy_box(at, a.maps[0], ready, t % " + slices +
             " * 64, x0 * " + num(i.stride_x) + " - " + num(i.pad_x) + " + tap % " +
             num(i.kernel_x) + " * " + num(i.step_x) + ", y0 * " + num(i.stride_y) + " - " +
             num(i.pad_y) + " + tap / " + num(i.kernel_x) + " * " + num(i.step_y) + ", image0);\n";
  o.copy_b = "copy_box(at + A_BYTES, a.maps[1], ready, t % " + slices + " * 64, t / " + slices +
             ", first_column, 0);\n";
  o.place =
      "const int x = x0 + tile_row % TX, y = y0 + tile_row / TX % TY;\n"
      "const int image = image0 + tile_row / (TX * TY);\n"
      "const bool inside = tile_row < BOX_ROWS && x < OX && y < OY && image < IMAGES;\n";
  o.index = {"image", "y", "x"};
  if (c.attributes.stride.size() == 1) o.index = {"image", "x"};
  const auto whole = [](int64_t v) { return static_cast<int>(v); };
  o.maps = {{c.x,
             moved_as(c.dtype),
             {kTileDepth, whole(box.x * i.stride_x), whole(box.y * i.stride_y), whole(box.images)},
             {1, whole(i.stride_x), whole(i.stride_y), 1}},
            {c.w, moved_as(c.dtype), {kTileDepth, 1, shape.columns, 1}, {1, 1, 1, 1}}};
  const int64_t taps = i.kernel_x * i.kernel_y;
  o.map_sizes = {0,
                 i.depth,
                 i.in_width,
                 i.in_height,
                 c.x_shape[0],
                 i.pixels_apart,
                 i.rows_apart,
                 i.images_apart,
                 0,
                 i.depth,
                 taps,
                 i.results,
                 1,
                 i.depth,
                 taps * i.depth,
                 0};
  return o;
}

}  // namespace stator::cuda
