"""One MCP client, served by the SDK's low-level server: tools, resources and their subscriptions.

How it works: plain tool calls are answered by `lane`, which takes them from the lines before the SDK sees them; over
HTTP there are no lines, and the SDK does everything. The SDK reads and writes all other messages through `streams`,
gives every request a task of its own and cancels it when the client says so or is gone; the operation behind it is
cancelled with it. Failures become results with `isError` and a text for the model, because a model sees results, and a
client may show a protocol error to nobody.
Protocol versions up to 2025-11-25 begin with `initialize` and subscribe with `resources/subscribe`; from 2026-07-28 on
there is neither, and `subscriptions/listen` carries what subscriptions tell.
"""

import logging
from typing import Any, Final

import mcp_types as types
import msgspec
import trio
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
)
from mcp.shared.exceptions import MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from ptybridge import __version__
from ptybridge.api import mcp as api
from ptybridge.api.endpoint import Channel, Endpoint
from ptybridge.errors import InternalError, NotFound, PtybridgeError
from ptybridge.mcp.catalog import all_tools
from ptybridge.mcp.connection import Connection
from ptybridge.mcp.http_session import HttpSession
from ptybridge.mcp.instructions import instructions
from ptybridge.mcp.lane import Lane, result_of
from ptybridge.mcp.resources import TEMPLATES, Resources, uri_of
from ptybridge.mcp.streams import Incoming, Outgoing
from ptybridge.mcp.toolset import Answer, Context, Report, Tool, Toolset
from ptybridge.model import Caller
from ptybridge.wire.lines import MAX_LINE_BYTES

log = logging.getLogger(__name__)
# The SDK logs what it cannot make sense of together with the message, which may hold a secret.
logging.getLogger("mcp").setLevel(logging.CRITICAL)

# What versions before 2026-07-28 answer for a resource that is not there; later ones have no number of their own.
RESOURCE_NOT_FOUND: Final = -32002


async def serve(endpoint: Endpoint, caller: Caller, params: api.Open, channel: Channel) -> None:
    """Serve one client until it goes."""
    client = _Client(endpoint, caller, params)
    repeatable = [one.name for one in client.tools if one.hints.read_only and one.hints.idempotent]
    await channel.opened(api.Opened(version=__version__, repeatable=repeatable))
    async with trio.open_nursery() as nursery:
        await nursery.start(client.resources.run)
        server = client.server()
        if isinstance(channel, HttpSession):
            await channel.carry(server)
        else:
            client.lane = Lane(nursery, channel, client.answer)
            await server.run(
                Incoming(channel, MAX_LINE_BYTES, client.lane.take),
                Outgoing(channel),
                server.create_initialization_options(),
            )
        nursery.cancel_scope.cancel()


class _Server(Server[Any]):
    """The SDK's server, which tells of itself that it reports changes of the list of resources."""

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *args: Any, **kwargs: Any
    ) -> InitializationOptions:
        """Return them. Over HTTP the SDK asks for them itself, and names none."""
        told = notification_options or NotificationOptions(resources_changed=True)
        return super().create_initialization_options(told, *args, **kwargs)


class _Client:
    """What is known of the client, and the handlers of its requests."""

    def __init__(self, endpoint: Endpoint, caller: Caller, params: api.Open) -> None:
        self._endpoint = endpoint
        self._params = params
        self._connection = Connection.of_client(
            params.settings, own_owner=params.default_owner, owner_optional=params.tools == "agent"
        )
        self._caller = self._connection.agent(caller)
        self.tools = Toolset(
            all_tools(),
            params.tools,
            control=self._connection.settings.enable_control_tools,
            admin=self._connection.settings.enable_admin_tools,
        )
        self.resources = Resources(endpoint, self._caller, self._publish)
        self._bus = InMemorySubscriptionBus()
        self._listen = ListenHandler(self._bus)
        # Of a client that began with `initialize`: where to tell it something, and what it has subscribed to.
        self._session: Any = None
        self._subscribed: set[str] = set()
        self.lane: Lane | None = None

    def server(self) -> Server[Any]:
        """Return the SDK's server with all handlers."""
        server = _Server(
            "ptybridge",
            version=__version__,
            title="ptybridge",
            instructions=instructions(self.tools),
            on_list_tools=self.list_tools,
            on_call_tool=self.call_tool,
            on_list_resources=self.list_resources,
            on_list_resource_templates=self.list_templates,
            on_read_resource=self.read_resource,
            on_subscribe_resource=self.subscribe,
            on_unsubscribe_resource=self.unsubscribe,
            on_subscriptions_listen=self.listen,
        )
        server.add_notification_handler("notifications/initialized", types.NotificationParams, self.initialized)
        return server

    async def initialized(self, ctx: Any, params: types.NotificationParams) -> None:
        """Remember where to tell the client something."""
        await trio.lowlevel.checkpoint()
        self._session = ctx.session
        if self.lane is not None and ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
            self.lane.opened = True

    # -- tools ----------------------------------------------------------------------------------------------

    async def list_tools(self, ctx: Any, params: Any) -> types.ListToolsResult:
        """Answer `tools/list`."""
        await trio.lowlevel.checkpoint()
        return types.ListToolsResult(tools=[_described(one) for one in self.tools])

    async def call_tool(self, ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Answer a `tools/call` that is not for the fast lane; failures are results, too."""
        answer = await self.answer(params.name, params.arguments, ctx.session.report_progress)
        return types.CallToolResult.model_validate(msgspec.to_builtins(result_of(answer)))

    async def answer(self, name: str, arguments: dict[str, Any] | None, report: Report) -> Answer | PtybridgeError:
        """Call a tool; a failure is returned."""
        context = Context(
            endpoint=self._endpoint,
            caller=self._caller,
            settings=self._connection,
            environ=self._params.environ,
            cwd=self._params.cwd or "/",
            report=report,
        )
        try:
            return await self.tools.call(context, name, arguments)
        except PtybridgeError as exc:
            return exc
        except Exception:
            log.exception("the tool %r failed", name[:80])
            return InternalError("this failed by a defect in ptybridge; the daemon's log has the details")

    # -- resources ------------------------------------------------------------------------------------------

    async def list_resources(self, ctx: Any, params: Any) -> types.ListResourcesResult:
        """Answer `resources/list`."""
        found = await self.resources.list()
        return types.ListResourcesResult(
            resources=[
                types.Resource(uri=one.uri, name=one.name, description=one.description, mime_type="text/plain")
                for one in found
            ]
        )

    async def list_templates(self, ctx: Any, params: Any) -> types.ListResourceTemplatesResult:
        """Answer `resources/templates/list`."""
        await trio.lowlevel.checkpoint()
        return types.ListResourceTemplatesResult(
            resource_templates=[
                types.ResourceTemplate(
                    uri_template=uri_of("{session_id}", part),
                    name=f"session {part}",
                    description=text,
                    mime_type="text/plain",
                )
                for part, text in TEMPLATES.items()
            ]
        )

    async def read_resource(self, ctx: Any, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """Answer `resources/read`."""
        try:
            text = await self.resources.read(params.uri)
        except PtybridgeError as exc:
            raise _refusal(exc, ctx) from exc
        content = types.TextResourceContents(uri=params.uri, mime_type="text/plain", text=text)
        return types.ReadResourceResult(contents=[content])

    async def subscribe(self, ctx: Any, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Answer `resources/subscribe`; once is enough."""
        self._session = ctx.session
        if params.uri not in self._subscribed:
            try:
                await self.resources.subscribe(params.uri)
            except PtybridgeError as exc:
                raise _refusal(exc, ctx) from exc
            self._subscribed.add(params.uri)
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Any, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Answer `resources/unsubscribe`."""
        await trio.lowlevel.checkpoint()
        if params.uri in self._subscribed:
            self._subscribed.discard(params.uri)
            self.resources.unsubscribe(params.uri)
        return types.EmptyResult()

    async def listen(self, ctx: Any, params: types.SubscriptionsListenRequestParams) -> types.SubscriptionsListenResult:
        """Answer `subscriptions/listen` by its stream; what it names and is not there is left out."""
        watched = []
        try:
            for uri in params.notifications.resource_subscriptions or ():
                try:
                    await self.resources.subscribe(uri)
                except NotFound:
                    continue
                watched.append(uri)
            return await self._listen(ctx, params)
        finally:
            for uri in watched:
                self.resources.unsubscribe(uri)

    async def _publish(self, uri: str | None) -> None:
        """Tell that a resource has changed, or the list of them."""
        await self._bus.publish(ResourcesListChanged() if uri is None else ResourceUpdated(uri=uri))
        if self._session is not None:
            if uri is None:
                await self._session.send_resource_list_changed()
            elif uri in self._subscribed:
                await self._session.send_resource_updated(uri)


def _described(tool: Tool) -> types.Tool:
    hints = tool.hints
    return types.Tool(
        name=tool.name,
        title=hints.title,
        description=tool.description,
        input_schema=tool.input_schema(),
        output_schema=tool.output_schema(),
        annotations=types.ToolAnnotations(
            title=hints.title,
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
    )


def _refusal(exc: PtybridgeError, ctx: Any) -> MCPError:
    text = f"{exc.message} ({exc.hint})" if exc.hint else exc.message
    if not isinstance(exc, NotFound):
        return MCPError(code=types.INTERNAL_ERROR, message=text)
    modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
    return MCPError(code=types.INVALID_PARAMS if modern else RESOURCE_NOT_FOUND, message=text)
