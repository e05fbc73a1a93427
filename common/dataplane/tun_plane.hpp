// The data plane that works on every host: a TUN device and outer sockets, in user space.
//
// Carries v4v6 (RFC 2473), v6v4 (RFC 4213) and v6udpv4 (RFC 5572 s4.5.2), one device for all. It
// knows nothing of leases, TSP or the endpoint link; what happens to a packet is decided in
// carrier.hpp, this is the ring of sockets and threads around it.
#pragma once

#include <memory>

#include "common/base/clock.hpp"
#include "common/base/result.hpp"
#include "common/dataplane/data_plane.hpp"
#include "common/dataplane/tun_device.hpp"
#include "common/dataplane/tun_plane_config.hpp"

namespace dstm::dataplane {

// Creates the device, brings it up, and starts carrying. All of it is undone by the destructor,
// which returns promptly. Needs CAP_NET_ADMIN and CAP_NET_RAW. `clock` must outlive the plane and
// is read from its thread too.
//
// invalid: a value of the configuration cannot work. conflict: the device belongs to another
// process, or a pool is routed elsewhere. refused: the rights are missing. unavailable: the host
// lacks the outer address or the TUN driver.
//
// add() returns, besides what DataPlane says: refused for a tunnel type that is not carried here;
// invalid for addresses that cannot be (inner in no pool, an outer that is not this host's);
// exhausted when the table is full, for a client when it has a tunnel with another inner address;
// unavailable, for a client, when its outer address is not (yet) on the host.
[[nodiscard]] Result<std::unique_ptr<DataPlane>> make_tun_plane(const TunPlaneConfig& config,
                                                                const Clock& clock);

// On a device that the caller has made already, alone with it: config.device.
[[nodiscard]] Result<std::unique_ptr<DataPlane>> make_tun_plane_on(TunDevice device,
                                                                   const TunPlaneConfig& config,
                                                                   const Clock& clock);

// What this plane would do on this host, or why it cannot. What it makes for this goes again.
[[nodiscard]] Result<std::string> probe_tun_plane();

}  // namespace dstm::dataplane
