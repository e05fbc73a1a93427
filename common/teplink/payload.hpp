// Parameters and results of the endpoint link as JSON (docs/wire/endpoint-link.md); the envelope
// around them is codec.cpp's. Inside common/teplink only: what cannot be read throws BadField.
#pragma once

#include <vector>

#include "common/teplink/codec.hpp"
#include "common/teplink/fields.hpp"

namespace dstm::teplink {

[[nodiscard]] Json to_json(const TunnelSpec& spec);
[[nodiscard]] TunnelSpec read_spec(const Json& value);

[[nodiscard]] Json params_of(const Request& request);
[[nodiscard]] Request read_request(Method method, const Json& params);

[[nodiscard]] Json result_of(const Answer& answer);
[[nodiscard]] Answer read_answer(Method method, const Json& value);

// A code of the wire and the text beside it, which stands under `text_key`.
[[nodiscard]] Error read_error(const Json& json, const char* text_key);

}  // namespace dstm::teplink
