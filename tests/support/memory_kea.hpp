// One of Kea's two servers in memory: the leases, by the rules of ports.hpp and
// docs/wire/kea-stream.md, and one server's connection to it as a LeaseStore. Leases live on when a
// server dies.
//
// Addresses are given from 192.0.2.10, or from 2001:db8:100::10 with prefixes of 2001:db8:f00::/40.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "dstm-server/ports.hpp"
#include "support/scheduler.hpp"
#include "support/wire.hpp"

namespace dstm::support {

class MemoryLeaseStore;

class MemoryKea {
public:
    MemoryKea(Scheduler& scheduler, server::Family family, std::size_t size)
        : scheduler_(scheduler), family_(family), size_(size) {}

    std::map<IpAddress, server::Lease> leases;
    std::uint32_t default_lifetime_s = 3600;
    std::set<std::uint8_t> prefix_lengths = {48, 56, 60, 64};  // that can be had

    // What the hook does for each command.
    [[nodiscard]] Result<server::Lease> allocate(const server::LeaseRequest& request);
    [[nodiscard]] Result<server::Lease> renew(const IpAddress& address,
                                              const server::LeaseRequest& request);
    [[nodiscard]] Result<void> release(const IpAddress& address, const server::ClientId& client_id,
                                       Generation up_to);
    [[nodiscard]] std::vector<server::Lease> list() const;

    // Every connected server is told, whatever `leases` holds.
    void announce(const server::Lease& ended, server::LeaseEnd why);
    // What happens by itself, and is announced.
    void end(const IpAddress& address, server::LeaseEnd why);
    void reclaim_expired();

    // Down: connections are lost, leases stay as in the lease file.
    void stop();
    void start();
    [[nodiscard]] bool is_running() const { return is_running_; }

private:
    friend class MemoryLeaseStore;
    void grant(server::Lease& lease, const server::LeaseRequest& request) const;
    [[nodiscard]] IpAddress address_at(std::size_t index) const;
    [[nodiscard]] bool is_free(const Ipv6Prefix& prefix) const;
    [[nodiscard]] std::optional<Ipv6Prefix> free_prefix(std::uint8_t length) const;

    Scheduler& scheduler_;
    const server::Family family_;
    std::size_t size_;
    // Kea remembers whose an ended lease was, and gives it to the same client if it is still free.
    std::map<server::ClientId, IpAddress> former_;
    bool is_running_ = true;
    std::vector<MemoryLeaseStore*> connections_;
};

class MemoryLeaseStore final : public server::LeaseStore {
public:
    MemoryLeaseStore(Scheduler& scheduler, MemoryKea& kea, const Fates& fates);
    ~MemoryLeaseStore() override;

    // Connects when Kea runs, and tells the listener.
    void connect();
    void disconnect();
    // At the death of the server: what was sent is carried out.
    void let_requests_survive() { wire_.let_effects_survive(); }

    void set_listener(server::LeaseListener* listener) override { listener_ = listener; }
    void allocate(const server::LeaseRequest& request, server::Done<server::Lease> done) override;
    void renew(const IpAddress& address, const server::LeaseRequest& request,
               server::Done<server::Lease> done) override;
    void release(const IpAddress& address, const server::ClientId& client_id, Generation up_to,
                 server::Done<void> done) override;
    void list(server::Done<std::vector<server::Lease>> done) override;

private:
    friend class MemoryKea;
    void tell(const server::Lease& lease, server::LeaseEnd why);
    template <class T>
    void submit(std::string_view operation, std::function<Result<T>()> effect,
                server::Done<T> done);

    Scheduler& scheduler_;
    MemoryKea& kea_;
    Wire wire_;
    server::LeaseListener* listener_ = nullptr;
    bool is_connected_ = false;
    std::uint64_t connection_ = 0;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dstm::support
