// One list, and the C library's resolver turned into values.
#include "client/net/server_addresses.hpp"

#include <algorithm>
#include <memory>
#include <utility>

#include <netdb.h>
#include <sys/socket.h>

namespace dstm::client {
namespace {

std::string none_of(const std::string& host, Family family) {
    return host + " has no " + (family == Family::ipv4 ? "IPv4" : "IPv6") + " address";
}

}  // namespace

IpAddress from_asio(const asio::ip::address& address) {
    if (address.is_v4()) return Ipv4Address(address.to_v4().to_uint());
    return Ipv6Address(address.to_v6().to_bytes());
}

asio::ip::address to_asio(const IpAddress& address) {
    if (const auto* v4 = std::get_if<Ipv4Address>(&address)) {
        return asio::ip::address_v4(v4->host_order());
    }
    return asio::ip::address_v6(std::get<Ipv6Address>(address).bytes());
}

Result<std::vector<asio::ip::address>> look_up(const std::string& host, Family family) {
    // One family alone is asked for: nobody waits for an answer that is of no use.
    addrinfo hints{};
    hints.ai_family = family == Family::ipv4 ? AF_INET : AF_INET6;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* first = nullptr;
    const int error = getaddrinfo(host.c_str(), nullptr, &hints, &first);
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(first, &freeaddrinfo);
    if (error == EAI_NODATA || error == EAI_ADDRFAMILY) {
        return fail(ErrorCode::not_found, none_of(host, family));
    }
    if (error != 0) return fail(ErrorCode::unavailable, host + ": " + gai_strerror(error));
    std::vector<asio::ip::address> addresses;
    for (const auto* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
        asio::ip::tcp::endpoint endpoint;
        if (entry->ai_addrlen > endpoint.capacity()) continue;
        std::copy_n(reinterpret_cast<const char*>(entry->ai_addr), entry->ai_addrlen,
                    reinterpret_cast<char*>(endpoint.data()));
        addresses.push_back(endpoint.address());
    }
    if (addresses.empty()) return fail(ErrorCode::not_found, none_of(host, family));
    return addresses;
}

ServerAddresses::ServerAddresses(Target server, Family family, std::size_t most)
    : server_(std::move(server)),
      family_(family),
      most_(most),
      trouble_(none_of(server_.host, family)) {
    const auto literal = parse_ip_address(server_.host);
    if (!literal) return;
    is_looking_ = false;
    add(to_asio(*literal));
}

void ServerAddresses::begin_with(const IpAddress& known) { add(to_asio(known)); }

void ServerAddresses::found(const Result<std::vector<Address>>& result) {
    is_looking_ = false;
    if (result) {
        in_dns_ = *result;
        for (const auto& address : *in_dns_) add(address);
    } else {
        trouble_ = result.error().context;
    }
    if (const auto waiter = std::exchange(waiter_, nullptr)) waiter();
}

void ServerAddresses::add(const Address& address) {
    const bool is_of_use = address.is_v4() == (family_ == Family::ipv4);
    if (!is_of_use || has(address) || all_.size() == most_) return;
    all_.push_back(address);
    untried_.push_back(address);
}

std::optional<ServerAddresses::Address> ServerAddresses::take() {
    if (untried_.empty()) return std::nullopt;
    const auto address = untried_.front();
    untried_.pop_front();
    return address;
}

bool ServerAddresses::has(const Address& address) const {
    return std::find(all_.begin(), all_.end(), address) != all_.end();
}

bool ServerAddresses::has_lost(const Address& address) const {
    return in_dns_ && std::find(in_dns_->begin(), in_dns_->end(), address) == in_dns_->end();
}

void ServerAddresses::note_trouble(const Address& address, const std::string& what) {
    trouble_ = server_.host + " [" + address.to_string() + "]:" + std::to_string(server_.port) +
               ": " + what;
}

}  // namespace dstm::client
