#include <memory>

#include <qrencode.h>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "cli/terminal.h"

namespace appmesh::cli {
namespace {

struct MfaOptions {
  bool add = false;
  bool remove = false;
  std::string target = "self";
};

// Two rows of the code share a line of the terminal; dark on light, as cameras like it.
std::string qr_picture(const std::string& text) {
  struct Free {
    void operator()(QRcode* code) const { QRcode_free(code); }
  };
  const std::unique_ptr<QRcode, Free> code(QRcode_encodeString8bit(text.c_str(), 0, QR_ECLEVEL_L));
  if (!code) return {};
  constexpr int kQuiet = 2;  // modules of margin
  const auto dark = [&](int x, int y) {
    if (x < 0 || y < 0 || x >= code->width || y >= code->width) return false;
    return (code->data[y * code->width + x] & 1) != 0;
  };
  std::string picture;
  for (int y = -kQuiet; y < code->width + kQuiet; y += 2) {
    picture += "\033[30;107m";
    for (int x = -kQuiet; x < code->width + kQuiet; ++x) {
      const bool upper = dark(x, y);
      const bool lower = dark(x, y + 1);
      picture += upper && lower ? "\u2588" : upper ? "\u2580" : lower ? "\u2584" : " ";
    }
    picture += "\033[0m\n";
  }
  return picture;
}

// The factor that is on protects itself: the daemon asks for a code of it when this session's is not fresh.
template <typename Call>
auto with_present_factor(Call call) {
  try {
    return call(std::string{});
  } catch (const ClientError& error) {
    if (error.status() != 403 || !std::string_view(error.what()).contains("X-Totp-Code")) throw;
  }
  return call(ask("Code of the second factor that is on", true, "log on again: appc logon"));
}

int mfa(Context& context, const MfaOptions& options) {
  if (options.add == options.remove) throw CliError(kUsage, "give either --add or --delete");
  Client& client = context.client();
  if (options.remove) {
    with_present_factor([&](const std::string& code) { client.disable_totp(options.target, code); });
    tell("The second factor is off.");
    return kOk;
  }
  if (options.target != "self")
    throw CliError(kUsage, "--add is for one's own account: the secret is shown to its owner");
  const std::string address =
      with_present_factor([&](const std::string& code) { return client.new_totp_secret(code); });
  if (output_is_terminal() && output_colour()) write_output(qr_picture(address));
  write_output(address + "\n");
  client.enable_totp(ask("Code that the authenticator shows", true, "run appc mfa --add on a terminal"));
  context.store().save(context.url(), client.token());
  tell("The second factor is on: the next logon asks for a code.");
  return kOk;
}

}  // namespace

void add_mfa_command(CLI::App& root, Context& context) {
  add_command<MfaOptions>(
      root, context, "mfa", "Switch the second factor of an account on or off",
      [](CLI::App& verb, MfaOptions& options) {
        verb.add_flag("-a,--add", options.add, "make a secret, show it, and switch the second factor on with a code");
        verb.add_flag("-d,--delete", options.remove, "switch the second factor off");
        verb.add_option("-t,--target", options.target, "whose, with --delete (default: yourself)");
      },
      mfa);
}

}  // namespace appmesh::cli
