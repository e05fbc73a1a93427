// Names for clients. See host_name.hpp.
#include "dstm-server/broker/host_name.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "dstm-server/broker/digest.hpp"

namespace dstm::server {
namespace {

constexpr std::size_t label_size_max = 63;  // RFC 1035 s2.3.4
constexpr std::size_t name_size_max = 253;  // as text, without the last dot

bool is_label_char(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; }

std::string make_label(std::string_view text) {
    std::string label;
    for (const char c : text) {
        const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        label += is_label_char(lower) ? lower : '-';
    }
    const bool is_good = label == text && label.size() <= label_size_max &&
                         label.front() != '-' && label.back() != '-';
    if (is_good) return label;
    const auto digest = sha256(text);
    const std::string mark =
        fmt::format("-{:02x}{:02x}{:02x}{:02x}", digest[0], digest[1], digest[2], digest[3]);
    label.resize(std::min(label.size(), label_size_max - mark.size()));
    label.erase(0, label.find_first_not_of('-'));
    return label.empty() ? "x" + mark : label + mark;
}

}  // namespace

std::string make_host_name(std::string_view suffix, std::string_view user, std::string_view host) {
    if (suffix.empty() || user.empty()) return {};
    std::string name = host.empty() ? "" : make_label(host) + ".";
    name += make_label(user) + ".";
    name += suffix;
    return name.size() > name_size_max ? std::string() : name;
}

}  // namespace dstm::server
