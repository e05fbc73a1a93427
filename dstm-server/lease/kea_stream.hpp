// The LeaseStore over the Kea hook's own stream socket: a UNIX socket that is opened again with
// back-off whenever it is lost. What is said over it is decided in dialogue.hpp.
//
// Loss and return of Kea are logged once per change (KEA_LOST, KEA_CONNECTED).
#pragma once

#include <memory>
#include <string>

#include "common/base/clock.hpp"
#include "dstm-server/ports.hpp"

namespace boost::asio {
class io_context;
}

namespace dstm::server {

struct KeaStreamConfig {
    std::string socket_path;
    Family family = Family::v4;  // of the server the hook is in
    Duration call_timeout = std::chrono::seconds(5);
    Duration retry_min = std::chrono::milliseconds(100);  // doubles up to retry_max
    Duration retry_max = std::chrono::seconds(5);
};

class KeaStream final : public LeaseStore {
public:
    // `events` and `clock` outlive it; `events` is run by one thread, the one that calls.
    KeaStream(KeaStreamConfig config, boost::asio::io_context& events, const Clock& clock);
    // Pending calls are dropped without completion.
    ~KeaStream() override;
    KeaStream(const KeaStream&) = delete;
    KeaStream& operator=(const KeaStream&) = delete;

    // Begins to connect. set_listener() comes before.
    void start();
    [[nodiscard]] bool is_ready() const;

    void set_listener(LeaseListener* listener) override;
    void allocate(const LeaseRequest& request, Done<Lease> done) override;
    void renew(const IpAddress& address, const LeaseRequest& request, Done<Lease> done) override;
    void release(const IpAddress& address, const ClientId& client_id, Generation up_to,
                 Done<void> done) override;
    void list(Done<std::vector<Lease>> done) override;

private:
    class Link;
    std::shared_ptr<Link> link_;
};

}  // namespace dstm::server
