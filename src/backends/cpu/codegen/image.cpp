// SPDX-License-Identifier: Apache-2.0
#include <llvm/BinaryFormat/ELF.h>
#include <llvm/Object/ELFObjectFile.h>

#include <cstring>
#include <map>

#include "backends/cpu/codegen/object.h"

namespace stator::cpu {
namespace {

using llvm::object::ELF64LEObjectFile;
using llvm::object::ELFSectionRef;
using llvm::object::ObjectFile;
using llvm::object::RelocationRef;
using llvm::object::SectionRef;
using llvm::object::SymbolRef;

Error bad(const std::string& what) {
  return Error{ErrorCode::kInternal, "linking generated code: " + what};
}

std::string text_of(llvm::Error error) { return llvm::toString(std::move(error)); }

class Linker {
 public:
  Status add(const std::string& bytes, size_t number) {
    llvm::Expected<std::unique_ptr<ObjectFile>> object = ObjectFile::createELFObjectFile(
        llvm::MemoryBufferRef(llvm::StringRef(bytes), "object" + std::to_string(number)));
    if (!object) {
      return bad(text_of(object.takeError()));
    }
    objects_.push_back(std::move(*object));
    for (const SectionRef section : objects_.back()->sections()) {
      const bool allocated = (ELFSectionRef(section).getFlags() & llvm::ELF::SHF_ALLOC) != 0;
      llvm::Expected<llvm::StringRef> name = section.getName();
      if (!allocated || section.getSize() == 0 || !name || name->starts_with(".eh_frame") ||
          name->starts_with(".note")) {
        continue;
      }
      if (section.isBSS() || (ELFSectionRef(section).getFlags() & llvm::ELF::SHF_WRITE) != 0) {
        return bad("section " + name->str() + " would have to be writable");
      }
      llvm::Expected<llvm::StringRef> content = section.getContents();
      if (!content) {
        return bad(text_of(content.takeError()));
      }
      const auto alignment = static_cast<size_t>(section.getAlignment().value());
      image_.bytes.resize((image_.bytes.size() + alignment - 1) / alignment * alignment, '\0');
      places_[{number, section.getIndex()}] = static_cast<int64_t>(image_.bytes.size());
      image_.bytes.append(content->data(), content->size());
    }
    return {};
  }

  Status define() {
    for (size_t i = 0; i < objects_.size(); ++i) {
      for (const SymbolRef symbol : objects_[i]->symbols()) {
        llvm::Expected<uint32_t> flags = symbol.getFlags();
        llvm::Expected<llvm::StringRef> name = symbol.getName();
        if (!flags || !name || (*flags & SymbolRef::SF_Undefined) != 0 ||
            (*flags & SymbolRef::SF_Global) == 0) {
          llvm::consumeError(flags.takeError());
          llvm::consumeError(name.takeError());
          continue;
        }
        STATOR_TRY(const int64_t offset, offset_of(symbol, i));
        image_.entries[name->str()] = offset;
      }
    }
    return {};
  }

  Status relocate() {
    for (size_t i = 0; i < objects_.size(); ++i) {
      for (const SectionRef section : objects_[i]->sections()) {
        llvm::Expected<llvm::object::section_iterator> target = section.getRelocatedSection();
        if (!target || *target == objects_[i]->section_end()) {
          llvm::consumeError(target.takeError());
          continue;
        }
        const auto place = places_.find({i, (*target)->getIndex()});
        if (place == places_.end()) {
          continue;
        }
        for (const RelocationRef relocation : section.relocations()) {
          STATOR_RETURN_IF_ERROR(apply(relocation, place->second, i));
        }
      }
    }
    return {};
  }

  CodeImage take() { return std::move(image_); }

 private:
  Result<int64_t> offset_of(const SymbolRef& symbol, size_t object) {
    llvm::Expected<llvm::StringRef> name = symbol.getName();
    llvm::Expected<llvm::object::section_iterator> section = symbol.getSection();
    if (!name || !section) {
      llvm::consumeError(name.takeError());
      llvm::consumeError(section.takeError());
      return bad("a symbol is damaged");
    }
    if (*section == objects_[object]->section_end()) {
      const auto found = image_.entries.find(name->str());
      if (found == image_.entries.end()) {
        return bad("the code calls '" + name->str() + "', which it must not need");
      }
      return found->second;
    }
    const auto place = places_.find({object, (*section)->getIndex()});
    llvm::Expected<uint64_t> value = symbol.getValue();
    if (place == places_.end() || !value) {
      llvm::consumeError(value.takeError());
      return bad("'" + name->str() + "' is in a section that is left out");
    }
    return place->second + static_cast<int64_t>(*value);
  }

  Status apply(const RelocationRef& relocation, int64_t section, size_t object) {
    const llvm::object::symbol_iterator symbol = relocation.getSymbol();
    if (symbol == objects_[object]->symbol_end()) {
      return bad("a relocation has no symbol");
    }
    STATOR_TRY(const int64_t target, offset_of(*symbol, object));
    llvm::Expected<int64_t> addend = llvm::object::ELFRelocationRef(relocation).getAddend();
    if (!addend) {
      return bad(text_of(addend.takeError()));
    }
    const int64_t at = section + static_cast<int64_t>(relocation.getOffset());
    const int64_t value = target + *addend - at;
    if (objects_[object]->getArch() == llvm::Triple::aarch64) {
      return apply_aarch64(relocation.getType(), at, target + *addend);
    }
    switch (relocation.getType()) {
      case llvm::ELF::R_X86_64_PC32:
      case llvm::ELF::R_X86_64_PLT32: {
        const auto narrow = static_cast<int32_t>(value);
        if (narrow != value) {
          return bad("the image is larger than 2 GiB");
        }
        std::memcpy(image_.bytes.data() + at, &narrow, 4);
        return {};
      }
      case llvm::ELF::R_X86_64_PC64:
        std::memcpy(image_.bytes.data() + at, &value, 8);
        return {};
      default: {
        llvm::SmallString<32> name;
        relocation.getTypeName(name);
        return bad("relocation " + name.str().str() + " is not known");
      }
    }
  }

  /// ADR pages are relative to the page of the instruction: the image is loaded at a page.
  Status apply_aarch64(uint64_t type, int64_t at, int64_t target) {
    uint32_t word = 0;
    std::memcpy(&word, image_.bytes.data() + at, 4);
    const int64_t value = target - at;
    switch (type) {
      case llvm::ELF::R_AARCH64_ADR_PREL_PG_HI21: {
        const int64_t pages = (target >> 12) - (at >> 12);
        word |= static_cast<uint32_t>((pages & 3) << 29) |
                static_cast<uint32_t>(((pages >> 2) & 0x7ffff) << 5);
        break;
      }
      case llvm::ELF::R_AARCH64_ADD_ABS_LO12_NC:
        word |= static_cast<uint32_t>((target & 0xfff) << 10);
        break;
      case llvm::ELF::R_AARCH64_LDST32_ABS_LO12_NC:
        word |= static_cast<uint32_t>(((target & 0xfff) >> 2) << 10);
        break;
      case llvm::ELF::R_AARCH64_LDST64_ABS_LO12_NC:
        word |= static_cast<uint32_t>(((target & 0xfff) >> 3) << 10);
        break;
      case llvm::ELF::R_AARCH64_LDST128_ABS_LO12_NC:
        word |= static_cast<uint32_t>(((target & 0xfff) >> 4) << 10);
        break;
      case llvm::ELF::R_AARCH64_CALL26:
      case llvm::ELF::R_AARCH64_JUMP26:
        word |= static_cast<uint32_t>((value >> 2) & 0x3ffffff);
        break;
      case llvm::ELF::R_AARCH64_PREL32:
        word = static_cast<uint32_t>(value);
        break;
      default:
        return bad("relocation " + std::to_string(type) + " is not known");
    }
    std::memcpy(image_.bytes.data() + at, &word, 4);
    return {};
  }

  std::vector<std::unique_ptr<ObjectFile>> objects_;
  std::map<std::pair<size_t, uint64_t>, int64_t> places_;  // (object, section) → offset
  CodeImage image_;
};

}  // namespace

Result<CodeImage> link_objects(const std::vector<std::string>& objects) {
  Linker linker;
  for (size_t i = 0; i < objects.size(); ++i) {
    STATOR_RETURN_IF_ERROR(linker.add(objects[i], i));
  }
  STATOR_RETURN_IF_ERROR(linker.define());
  STATOR_RETURN_IF_ERROR(linker.relocate());
  return linker.take();
}

}  // namespace stator::cpu
