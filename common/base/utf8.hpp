// Whether bytes are text: UTF-8 as RFC 3629 s4 has it (no surrogates, no over-long forms, nothing
// above U+10FFFF).
#pragma once

#include <cstdint>
#include <string_view>

namespace dstm {

[[nodiscard]] constexpr bool is_utf8(std::string_view text) {
    std::size_t at = 0;
    while (at < text.size()) {
        const auto first = static_cast<std::uint8_t>(text[at]);
        const std::size_t size = first < 0x80              ? 1
                                 : (first & 0xe0) == 0xc0 ? 2
                                 : (first & 0xf0) == 0xe0 ? 3
                                 : (first & 0xf8) == 0xf0 ? 4
                                                          : 0;
        if (size == 0 || text.size() - at < size) return false;
        std::uint32_t code = size == 1 ? first : first & (0x7fU >> size);
        for (std::size_t i = 1; i < size; ++i) {
            const auto next = static_cast<std::uint8_t>(text[at + i]);
            if ((next & 0xc0) != 0x80) return false;
            code = code << 6 | (next & 0x3f);
        }
        constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        if (code < smallest[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
            return false;
        }
        at += size;
    }
    return true;
}

}  // namespace dstm
