// The grammar of tunnel messages, element by element (RFC 5572 s4.7, Appendix A as corrected in
// tunnel_xml.hpp).
#include "common/tsp/tunnel_tree.hpp"

#include <algorithm>
#include <charconv>

#include "common/base/assert.hpp"
#include "common/tsp/tunnel_xml.hpp"

namespace dstm::tsp {
namespace {

constexpr std::size_t host_id_size_max = 64;
constexpr std::string_view white_space = " \t\r\n";

Result<void> refuse(std::string why) { return fail(ErrorCode::invalid, std::move(why)); }

const std::string* find(const TunnelTree::Attributes& attributes, std::string_view name) {
    for (const auto& [key, value] : attributes) {
        if (key == name) return &value;
    }
    return nullptr;
}

std::optional<std::uint32_t> parse_number(std::string_view text) {
    std::uint32_t value = 0;
    const auto* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, value);
    if (text.empty() || parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    return value;
}

// Into `out`, if the attribute is there. Empty counts as absent: the DTD's default for `length`.
Result<void> read_number(const TunnelTree::Attributes& attributes, std::string_view name,
                         std::optional<std::uint32_t>& out) {
    const auto* const text = find(attributes, name);
    if (text == nullptr || text->empty()) return {};
    out = parse_number(*text);
    if (!out) return refuse("attribute " + std::string(name) + " is not a number");
    return {};
}

Result<std::uint32_t> require_number(const TunnelTree::Attributes& attributes,
                                     std::string_view name) {
    std::optional<std::uint32_t> value;
    if (auto read = read_number(attributes, name, value); !read) {
        return tl::unexpected(read.error());
    }
    if (!value) return fail(ErrorCode::invalid, "attribute " + std::string(name) + " is missing");
    return *value;
}

std::string trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(white_space);
    if (first == std::string_view::npos) return {};
    return std::string(text.substr(first, text.find_last_not_of(white_space) - first + 1));
}

bool is_host_id(std::string_view text) {
    const auto is_allowed = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               c == '_' || c == '-';
    };
    return !text.empty() && text.size() <= host_id_size_max &&
           std::ranges::all_of(text, is_allowed);
}

}  // namespace

TunnelTree::Element TunnelTree::classify(Element parent, std::string_view name) {
    switch (parent) {
        case Element::none: return name == "tunnel" ? Element::tunnel : Element::unknown;
        case Element::tunnel:
            if (name == "server") return Element::server;
            if (name == "client") return Element::client;
            if (name == "broker") return Element::broker;
            if (name == "lease") return Element::lease;
            if (name == "host") return Element::host;
            return Element::unknown;
        case Element::server:
        case Element::client:
            if (name == "address") return Element::address;
            if (name == "router") return Element::router;
            if (name == "keepalive") return Element::keepalive;
            if (name == "dns_server") return Element::dns_server;
            return Element::unknown;
        case Element::router:
            if (name == "prefix") return Element::prefix;
            if (name == "dns_server") return Element::dns_server;
            return Element::unknown;
        case Element::broker:
        case Element::dns_server:
        case Element::keepalive: return name == "address" ? Element::address : Element::unknown;
        default: return Element::unknown;
    }
}

Party& TunnelTree::party() {
    DSTM_ASSERT(path_.size() >= 2);
    auto& found = path_[1] == Element::server ? message_.server : message_.client;
    DSTM_ASSERT(found.has_value());
    return *found;
}

Result<void> TunnelTree::start(std::string_view name, const Attributes& attributes) {
    if (path_.size() >= xml_depth_max) return refuse("elements are nested too deep");
    if (++elements_ > xml_elements_max) return refuse("too many elements");
    if (attributes.size() > xml_attributes_max) return refuse("too many attributes");
    const auto element = classify(current(), name);
    if (path_.empty() && element != Element::tunnel) return refuse("root element is not tunnel");
    if (auto started = start_known(element, attributes); !started) return started;
    path_.push_back(element);
    return {};
}

// path_ still ends with the parent.
Result<void> TunnelTree::start_known(Element element, const Attributes& attributes) {
    switch (element) {
        case Element::tunnel: return start_tunnel(attributes);
        case Element::server: return start_party(message_.server);
        case Element::client: return start_party(message_.client);
        case Element::broker: message_.brokers.emplace_back(); return {};
        case Element::address: return start_address(attributes);
        case Element::router: return start_router();
        case Element::prefix: return start_prefix(attributes);
        case Element::keepalive: return start_keepalive(attributes);
        case Element::lease: return start_lease(attributes);
        case Element::host: return start_host(attributes);
        case Element::dns_server:
        case Element::unknown:
        case Element::none: return {};
    }
    return {};
}

Result<void> TunnelTree::start_tunnel(const Attributes& attributes) {
    const auto* const action = find(attributes, "action");
    if (action == nullptr) return refuse("attribute action is missing");
    const auto parsed_action = parse_action(*action);
    if (!parsed_action) return refuse("attribute action is unknown");
    message_.action = *parsed_action;
    if (const auto* const type = find(attributes, "type")) {
        message_.type = parse_request_type(*type);
        if (!message_.type) message_.unknown_type = *type;
    }
    return read_number(attributes, "lifetime", message_.lifetime_min);
}

Result<void> TunnelTree::start_party(std::optional<Party>& party) {
    if (party) return refuse("server or client stands twice");
    party.emplace();
    return {};
}

Result<void> TunnelTree::start_address(const Attributes& attributes) {
    text_.clear();
    address_.reset();
    const auto* const type = find(attributes, "type");
    if (type == nullptr) return refuse("address has no type");
    const auto parsed_type = parse_address_type(*type);
    if (!parsed_type) return {};  // a family of the future: ignored like an unknown element
    address_.emplace();
    address_->type = *parsed_type;
    return read_number(attributes, "length", address_->length);
}

Result<void> TunnelTree::start_router() {
    if (party().router) return refuse("router stands twice");
    party().router.emplace();
    return {};
}

Result<void> TunnelTree::start_prefix(const Attributes& attributes) {
    text_.clear();
    auto& router = *party().router;
    if (router.prefix) return refuse("prefix stands twice");
    const auto length = require_number(attributes, "length");
    if (!length) return tl::unexpected(length.error());
    router.prefix = Prefix{*length, {}};
    return {};
}

Result<void> TunnelTree::start_keepalive(const Attributes& attributes) {
    if (party().keepalive) return refuse("keepalive stands twice");
    const auto interval = require_number(attributes, "interval");
    if (!interval) return tl::unexpected(interval.error());
    party().keepalive = Keepalive{*interval, std::nullopt};
    return {};
}

Result<void> TunnelTree::start_lease(const Attributes& attributes) {
    const auto seconds = require_number(attributes, "seconds");
    if (!seconds) return tl::unexpected(seconds.error());
    message_.lease_seconds = *seconds;
    return {};
}

Result<void> TunnelTree::start_host(const Attributes& attributes) {
    const auto* const id = find(attributes, "id");
    if (id == nullptr || !is_host_id(*id)) return refuse("host has no valid id");
    message_.host_id = *id;
    return {};
}

void TunnelTree::text(std::string_view part) {
    if (current() == Element::address || current() == Element::prefix) text_ += part;
}

void TunnelTree::end() {
    DSTM_ASSERT(!path_.empty());
    const auto element = path_.back();
    path_.pop_back();
    if (element == Element::address) end_address();
    if (element == Element::prefix) party().router->prefix->text = trimmed(text_);
}

void TunnelTree::end_address() {
    if (!address_) return;
    address_->text = trimmed(text_);
    switch (current()) {
        case Element::broker:
            message_.brokers.back().addresses.push_back(std::move(*address_));
            break;
        case Element::dns_server: {
            const bool is_in_router = path_[path_.size() - 2] == Element::router;
            auto& servers = is_in_router ? party().router->dns_servers : party().dns_servers;
            servers.push_back(std::move(*address_));
            break;
        }
        case Element::keepalive: party().keepalive->address = std::move(*address_); break;
        default: party().addresses.push_back(std::move(*address_)); break;
    }
    address_.reset();
}

}  // namespace dstm::tsp
