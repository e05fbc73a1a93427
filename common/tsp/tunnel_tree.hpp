// Builds a TunnelMessage from a stream of elements: the grammar of RFC 5572 s4.7 without the
// parser. Bounded in depth and counts; knows no XML library.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/result.hpp"
#include "common/tsp/message.hpp"

namespace dstm::tsp {

class TunnelTree {
public:
    using Attributes = std::vector<std::pair<std::string, std::string>>;

    // Calls come as the document has them; after an error there are no more calls.
    [[nodiscard]] Result<void> start(std::string_view name, const Attributes& attributes);
    void text(std::string_view part);
    void end();
    // After the last end().
    [[nodiscard]] TunnelMessage take() { return std::move(message_); }

private:
    enum class Element {
        none,     // above the root
        unknown,  // and all that is in it: ignored
        tunnel,
        server,
        client,
        broker,
        address,
        router,
        prefix,
        dns_server,
        keepalive,
        lease,
        host,
    };

    [[nodiscard]] static Element classify(Element parent, std::string_view name);
    [[nodiscard]] Element current() const { return path_.empty() ? Element::none : path_.back(); }
    [[nodiscard]] Party& party();  // the one we are in

    [[nodiscard]] Result<void> start_known(Element element, const Attributes& attributes);
    [[nodiscard]] Result<void> start_tunnel(const Attributes& attributes);
    [[nodiscard]] Result<void> start_party(std::optional<Party>& party);
    [[nodiscard]] Result<void> start_address(const Attributes& attributes);
    [[nodiscard]] Result<void> start_router();
    [[nodiscard]] Result<void> start_prefix(const Attributes& attributes);
    [[nodiscard]] Result<void> start_keepalive(const Attributes& attributes);
    [[nodiscard]] Result<void> start_lease(const Attributes& attributes);
    [[nodiscard]] Result<void> start_host(const Attributes& attributes);
    void end_address();

    TunnelMessage message_;
    std::vector<Element> path_;
    std::size_t elements_ = 0;
    std::optional<Address> address_;  // being read; empty while inside one of an unknown type
    std::string text_;                // of the address or prefix being read
};

}  // namespace dstm::tsp
