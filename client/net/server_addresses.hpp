// The addresses of one server, in the order in which they are tried (RFC 8305 s3, s4): the one that
// served last is there at once, a look-up brings the others beside it. The list outlives a
// dialogue: where one failed, the next goes on.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "client/request.hpp"
#include "client/target.hpp"
#include "common/base/ip_address.hpp"
#include "common/base/result.hpp"
#include "common/io/asio.hpp"

namespace dstm::client {

[[nodiscard]] IpAddress from_asio(const asio::ip::address& address);
[[nodiscard]] asio::ip::address to_asio(const IpAddress& address);

// Blocking. In the order of the C library, which is RFC 6724's; never empty.
[[nodiscard]] Result<std::vector<asio::ip::address>> look_up(const std::string& host,
                                                             Family family);

class ServerAddresses {
public:
    using Address = asio::ip::address;

    // Signalling runs over what the tunnel runs over (RFC 5572 Figure 4): addresses of the other
    // family are of no use. At most `most` are tried.
    ServerAddresses(Target server, Family family, std::size_t most);

    // An address in the place of a name needs no look-up.
    [[nodiscard]] bool needs_look_up() const { return is_looking_; }
    void begin_with(const IpAddress& known);
    // What the look-up has brought. Whoever waits is told.
    void found(const Result<std::vector<Address>>& result);
    // Replaces who was told before; called at most once.
    void wait(std::function<void()> waiter) { waiter_ = std::move(waiter); }

    // The next one to try; none while nothing else has been found.
    [[nodiscard]] std::optional<Address> take();
    // It was taken and not tried to the end.
    void give_back(const Address& address) { untried_.push_front(address); }
    // From the first one on, by another transport.
    void start_over() { untried_.assign(all_.begin(), all_.end()); }

    [[nodiscard]] bool has(const Address& address) const;
    // The DNS has answered, and does not know this one.
    [[nodiscard]] bool has_lost(const Address& address) const;
    // There is another one, or may be.
    [[nodiscard]] bool has_more() const { return is_looking_ || !untried_.empty(); }
    [[nodiscard]] bool is_looking() const { return is_looking_; }
    [[nodiscard]] const Target& server() const { return server_; }
    // Why there is none, or what was wrong with the last one.
    [[nodiscard]] const std::string& trouble() const { return trouble_; }
    void note_trouble(const Address& address, const std::string& what);

private:
    void add(const Address& address);

    Target server_;
    Family family_;
    std::size_t most_;
    bool is_looking_ = true;
    std::vector<Address> all_;
    std::optional<std::vector<Address>> in_dns_;
    std::deque<Address> untried_;
    std::function<void()> waiter_;
    std::string trouble_;
};

}  // namespace dstm::client
