// See the header. RFC 8259 s7 (strings), RFC 3629 s4 (well-formed UTF-8).
#include "kea-hook/json_line.hpp"

#include <array>
#include <cstdint>
#include <optional>

namespace dstm::kea {

namespace {

using isc::data::ConstElementPtr;
using isc::data::Element;

constexpr std::string_view hex_digits = "0123456789abcdef";

std::optional<std::uint32_t> four_hex_digits(std::string_view text, std::size_t at) {
    if (at + 4 > text.size()) return std::nullopt;
    std::uint32_t value = 0;
    for (const char c : text.substr(at, 4)) {
        const char lower = c >= 'A' && c <= 'F' ? static_cast<char>(c + ('a' - 'A')) : c;
        const std::size_t digit = hex_digits.find(lower);
        if (digit == std::string_view::npos) return std::nullopt;
        value = value * 16 + static_cast<std::uint32_t>(digit);
    }
    return value;
}

void append_utf8(std::string& out, std::uint32_t code_point) {
    const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code_point < 0x800) {
        put(0xC0 | (code_point >> 6));
    } else if (code_point < 0x10000) {
        put(0xE0 | (code_point >> 12));
        put(0x80 | ((code_point >> 6) & 0x3F));
    } else {
        put(0xF0 | (code_point >> 18));
        put(0x80 | ((code_point >> 12) & 0x3F));
        put(0x80 | ((code_point >> 6) & 0x3F));
    }
    put(0x80 | (code_point & 0x3F));
}

// Copies one escape at text[at] == '\\'; returns what follows it, or nothing if it is malformed.
std::optional<std::size_t> copy_escape(std::string_view text, std::size_t at, std::string& out) {
    if (at + 1 >= text.size()) return std::nullopt;
    if (text[at + 1] != 'u') {
        out.append(text.substr(at, 2));
        return at + 2;
    }
    auto code_point = four_hex_digits(text, at + 2);
    if (!code_point) return std::nullopt;
    if (*code_point < 0x80) {
        out.append(text.substr(at, 6));
        return at + 6;
    }
    std::size_t after = at + 6;
    if (*code_point >= 0xD800 && *code_point < 0xE000) {
        const auto low =
            text.substr(after, 2) == "\\u" ? four_hex_digits(text, after + 2) : std::nullopt;
        if (*code_point >= 0xDC00 || !low || *low < 0xDC00 || *low >= 0xE000) return std::nullopt;
        code_point = 0x10000 + ((*code_point - 0xD800) << 10) + (*low - 0xDC00);
        after += 6;
    }
    append_utf8(out, *code_point);
    return after;
}

// The length of the well-formed UTF-8 character at text[at], 0 if there is none.
std::size_t utf8_length(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) {
        return at + i < text.size() ? static_cast<std::uint8_t>(text[at + i]) : std::uint8_t{0};
    };
    const auto follows = [&](std::size_t i, std::uint8_t low = 0x80, std::uint8_t high = 0xBF) {
        return byte(i) >= low && byte(i) <= high;
    };
    const std::uint8_t first = byte(0);
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
    if (first >= 0xE0 && first <= 0xEF) {
        const std::uint8_t low = first == 0xE0 ? 0xA0 : 0x80;
        const std::uint8_t high = first == 0xED ? 0x9F : 0xBF;
        return follows(1, low, high) && follows(2) ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        const std::uint8_t low = first == 0xF0 ? 0x90 : 0x80;
        const std::uint8_t high = first == 0xF4 ? 0x8F : 0xBF;
        return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
    }
    return 0;
}

void append_string(std::string& out, std::string_view text) {
    out.push_back('"');
    for (std::size_t at = 0; at < text.size();) {
        const auto byte = static_cast<std::uint8_t>(text[at]);
        const std::size_t length = utf8_length(text, at);
        if (byte == '"' || byte == '\\') {
            out.push_back('\\');
            out.push_back(text[at]);
        } else if (byte < 0x20 || length == 0) {
            // A byte that is no UTF-8 must not make the whole line unreadable.
            out.append("\\u00");
            out.push_back(hex_digits[byte >> 4]);
            out.push_back(hex_digits[byte & 15]);
        } else {
            out.append(text.substr(at, length));
        }
        at += length == 0 ? 1 : length;
    }
    out.push_back('"');
}

}  // namespace

Result<isc::data::ElementPtr> read_json_line(std::string_view line) {
    std::string prepared;
    prepared.reserve(line.size());
    std::size_t depth = 0;
    bool in_string = false;
    for (std::size_t at = 0; at < line.size();) {
        const char c = line[at];
        if (in_string && c == '\\') {
            const auto after = copy_escape(line, at, prepared);
            if (!after) return fail(ErrorCode::invalid, "malformed escape in a string");
            at = *after;
            continue;
        }
        if (c == '"') in_string = !in_string;
        if (!in_string && (c == '[' || c == '{') && ++depth > json_depth_max) {
            return fail(ErrorCode::invalid, "nested too deeply");
        }
        if (!in_string && (c == ']' || c == '}') && depth > 0) --depth;
        prepared.push_back(c);
        ++at;
    }
    try {
        return Element::fromJSON(prepared);
    } catch (const std::exception& error) {
        return fail(ErrorCode::invalid, error.what());
    }
}

void append_json(std::string& out, const ConstElementPtr& value) {
    const char* separator = "";
    if (!value) {
        out.append("null");
    } else if (value->getType() == Element::string) {
        append_string(out, value->stringValue());
    } else if (value->getType() == Element::list) {
        out.push_back('[');
        for (const auto& item : value->listValue()) {
            out.append(separator);
            append_json(out, item);
            separator = ", ";
        }
        out.push_back(']');
    } else if (value->getType() == Element::map) {
        out.push_back('{');
        for (const auto& [name, item] : value->mapValue()) {
            out.append(separator);
            append_string(out, name);
            out.append(": ");
            append_json(out, item);
            separator = ", ";
        }
        out.push_back('}');
    } else {
        out.append(value->str());
    }
}

std::size_t size_as_json(const ConstElementPtr& value) {
    std::string text;
    append_json(text, value);
    return text.size();
}

}  // namespace dstm::kea
