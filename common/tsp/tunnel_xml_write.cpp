// Writes tunnel messages for parsers that are hardly parsers (RFC 5572 s4.7): the layout is the
// one of the RFC's figures, and nothing in it needs more than a search for a tag and a quote.
#include <algorithm>

#include "common/tsp/tunnel_xml.hpp"

namespace dstm::tsp {
namespace {

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            default: out += c >= 0x20 && c < 0x7f ? c : '?'; break;
        }
    }
    return out;
}

std::string attribute(std::string_view name, std::string_view value) {
    return " " + std::string(name) + "=\"" + escaped(value) + "\"";
}

std::string attribute(std::string_view name, std::uint32_t value) {
    return attribute(name, std::to_string(value));
}

class Writer {
public:
    void open(std::string_view name, const std::string& attributes = {}) {
        indent();
        out_ += "<" + std::string(name) + attributes + ">\r\n";
        ++depth_;
    }
    void close(std::string_view name) {
        --depth_;
        indent();
        out_ += "</" + std::string(name) + ">\r\n";
    }
    // An element with text or nothing in it, on one line: old parsers do not trim the text.
    void leaf(std::string_view name, const std::string& attributes, std::string_view text = {}) {
        indent();
        out_ += "<" + std::string(name) + attributes + ">" + escaped(text) + "</" +
                std::string(name) + ">\r\n";
    }
    [[nodiscard]] std::string take() { return std::move(out_); }

private:
    void indent() { out_.append(depth_ * 2, ' '); }

    std::string out_;
    std::size_t depth_ = 0;
};

void write_address(Writer& writer, const Address& address) {
    auto attributes = attribute("type", to_string(address.type));
    if (address.length) attributes += attribute("length", *address.length);
    writer.leaf("address", attributes, address.text);
}

void write_addresses(Writer& writer, const std::vector<Address>& addresses) {
    for (const auto& address : addresses) write_address(writer, address);
}

void write_router(Writer& writer, const Router& router) {
    writer.open("router");
    if (router.prefix) {
        writer.leaf("prefix", attribute("length", router.prefix->length), router.prefix->text);
    }
    if (!router.dns_servers.empty()) {
        writer.open("dns_server");
        write_addresses(writer, router.dns_servers);
        writer.close("dns_server");
    }
    writer.close("router");
}

void write_keepalive(Writer& writer, const Keepalive& keepalive) {
    const auto interval = attribute("interval", keepalive.interval_s);
    if (!keepalive.address) return writer.leaf("keepalive", interval);
    writer.open("keepalive", interval);
    write_address(writer, *keepalive.address);
    writer.close("keepalive");
}

void write_party(Writer& writer, std::string_view name, const Party& party) {
    writer.open(name);
    write_addresses(writer, party.addresses);
    if (party.router) write_router(writer, *party.router);
    if (party.keepalive) write_keepalive(writer, *party.keepalive);
    writer.close(name);
}

std::string tunnel_attributes(const TunnelMessage& message) {
    auto attributes = attribute("action", to_string(message.action));
    if (message.type)
        attributes += attribute("type", to_string(*message.type));
    else if (message.unknown_type)
        attributes += attribute("type", *message.unknown_type);
    if (message.lifetime_min) attributes += attribute("lifetime", *message.lifetime_min);
    return attributes;
}

bool is_empty(const TunnelMessage& message) {
    return !message.server && !message.client && message.brokers.empty() &&
           !message.lease_seconds && !message.host_id;
}

}  // namespace

std::string write_tunnel_xml(const TunnelMessage& message) {
    Writer writer;
    const auto attributes = tunnel_attributes(message);
    if (is_empty(message)) {
        writer.leaf("tunnel", attributes);  // accept is exactly 35 bytes, as everybody sends it
        return writer.take();
    }
    writer.open("tunnel", attributes);
    if (message.server) write_party(writer, "server", *message.server);
    if (message.client) write_party(writer, "client", *message.client);
    for (const auto& broker : message.brokers) {
        writer.open("broker");
        write_addresses(writer, broker.addresses);
        writer.close("broker");
    }
    if (message.lease_seconds) {
        writer.leaf("lease", attribute("seconds", *message.lease_seconds));
    }
    if (message.host_id) writer.leaf("host", attribute("id", *message.host_id));
    writer.close("tunnel");
    return writer.take();
}

}  // namespace dstm::tsp
