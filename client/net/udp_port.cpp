// The socket calls behind udp_port.hpp.
#include "client/net/udp_port.hpp"

#include <cerrno>
#include <utility>

#include <fcntl.h>

namespace dstm::client {

std::optional<asio::ip::address> UdpPort::source_towards(asio::io_context& context,
                                                         const Udp::endpoint& server) {
    // Connecting a datagram socket sends nothing; the kernel only chooses route and source.
    Udp::socket probe(context);
    ErrorCodeOfAsio error;
    probe.open(server.protocol(), error);
    if (!error) probe.connect(server, error);
    const auto local = error ? Udp::endpoint() : probe.local_endpoint(error);
    if (error) return std::nullopt;
    return local.address();
}

ErrorCodeOfAsio UdpPort::open(const Udp::endpoint& server, bool carries_data) {
    server_ = server;
    is_connected_ = !carries_data;
    ErrorCodeOfAsio error;
    socket_.open(server.protocol(), error);
    if (error) return error;
    if (is_connected_) {
        socket_.connect(server, error);
        return error;
    }
    const auto source = source_towards(context_, server);
    if (!source) return asio::error::network_unreachable;
    socket_.bind({*source, 0}, error);
    return error;
}

bool UdpPort::still_serves(const Udp::endpoint& server) const {
    const auto from = local();
    return from && server == server_ && source_towards(context_, server) == from->address();
}

std::optional<UdpPort::Udp::endpoint> UdpPort::local() const {
    ErrorCodeOfAsio error;
    const auto endpoint = socket_.local_endpoint(error);
    if (error) return std::nullopt;
    return endpoint;
}

void UdpPort::listen(const void* owner, Receiver receiver) {
    owner_ = owner;
    receiver_ = std::move(receiver);
    read();
}

void UdpPort::stop_listening(const void* owner) {
    if (owner != owner_) return;
    owner_ = nullptr;
    receiver_ = nullptr;
    ErrorCodeOfAsio ignored;
    socket_.cancel(ignored);
}

void UdpPort::send(const std::string& datagram) {
    ErrorCodeOfAsio ignored;
    if (is_connected_) {
        socket_.send(asio::buffer(datagram), 0, ignored);
    } else {
        socket_.send_to(asio::buffer(datagram), server_, 0, ignored);
    }
}

void UdpPort::read() {
    if (is_reading_ || data_plane_reads_ || !receiver_) return;
    is_reading_ = true;
    socket_.async_receive_from(
        asio::buffer(inbox_), from_,
        [self = shared_from_this()](const ErrorCodeOfAsio& error, std::size_t count) {
            self->is_reading_ = false;
            if (!error) {
                self->deliver(self->from_, {self->inbox_.data(), count});
            } else if (error != asio::error::operation_aborted && self->receiver_) {
                const auto receiver = self->receiver_;
                receiver(error, {});
            }
            self->read();
        });
}

Result<dataplane::Descriptor> UdpPort::duplicate() {
    const int copy = ::fcntl(socket_.native_handle(), F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return tl::unexpected(error_from_errno(errno, "duplicate the UDP socket"));
    return dataplane::Descriptor(copy);
}

void UdpPort::data_plane_reads(bool reads) {
    data_plane_reads_ = reads;
    if (!reads) return read();
    ErrorCodeOfAsio ignored;
    socket_.cancel(ignored);
}

void UdpPort::deliver(const Udp::endpoint& from, std::string_view datagram) {
    if (from != server_ || !receiver_) return;
    // It may stop listening while it is told.
    const auto receiver = receiver_;
    receiver({}, datagram);
}

}  // namespace dstm::client
