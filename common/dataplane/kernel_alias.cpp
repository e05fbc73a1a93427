// Written and read field by field; no other text is taken.
#include "common/dataplane/kernel_alias.hpp"

#include <charconv>
#include <vector>

namespace dstm::dataplane {
namespace {

constexpr std::string_view mark = "dstm";

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> out;
    while (true) {
        const auto at = text.find(separator);
        out.push_back(text.substr(0, at));
        if (at == std::string_view::npos) return out;
        text.remove_prefix(at + 1);
    }
}

template <class Number>
bool read_number(std::string_view text, Number& out) {
    const auto* const end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, out);
    return read.ec == std::errc() && read.ptr == end;
}

std::optional<TunnelSpec> read_tunnel(std::string_view text) {
    const auto fields = split(text, ',');
    if (fields.size() != 3 && fields.size() != 4) return std::nullopt;
    TunnelSpec spec;
    const auto inner = parse_ip_address(fields[0]);
    std::int64_t end = 0;
    if (!inner || !read_number(fields[1], spec.generation) || !read_number(fields[2], end)) {
        return std::nullopt;
    }
    spec.inner = *inner;
    spec.expires_at = from_unix(end);
    if (fields.size() == 3) return spec;
    spec.inner_prefix = Ipv6Prefix::parse(fields[3]);
    if (!spec.inner_prefix) return std::nullopt;
    return spec;
}

}  // namespace

std::string write_alias(const std::map<Slot, TunnelSpec>& tunnels) {
    std::string out(mark);
    for (const auto& [slot, spec] : tunnels) {
        out += ' ' + std::to_string(slot) + '=' + to_string(spec.inner) + ',' +
               std::to_string(spec.generation) + ',' + std::to_string(to_unix(spec.expires_at));
        if (spec.inner_prefix) out += ',' + spec.inner_prefix->to_string();
    }
    return out;
}

std::optional<std::map<Slot, TunnelSpec>> read_alias(std::string_view text) {
    const auto words = split(text, ' ');
    if (words.front() != mark) return std::nullopt;
    std::map<Slot, TunnelSpec> out;
    for (std::size_t i = 1; i < words.size(); ++i) {
        const auto equals = words[i].find('=');
        Slot slot = 0;
        if (equals == std::string_view::npos || !read_number(words[i].substr(0, equals), slot) ||
            slot >= slots_max) {
            return std::nullopt;
        }
        const auto spec = read_tunnel(words[i].substr(equals + 1));
        if (!spec || !out.emplace(slot, *spec).second) return std::nullopt;
    }
    return out;
}

}  // namespace dstm::dataplane
