/* What the drizzle kernel works on, and small helpers shared by its builds for several instruction sets. */

#ifndef MULTIVISIT_KERNEL_H
#define MULTIVISIT_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* Pixels of one chip row that are worked on together, a block: few enough for all of a row's numbers, and the
 * output pixels that it shares with the next row, to stay in the innermost cache. */
#define BLOCK 128

/* Chip rows of a block that are accepted or rejected together: a patch. */
#define PATCH_ROWS 32

/* Most and fewest lanes that a block is divided into, and most pixels of one; see Workspace. */
#define MOST_LANES 16
#define FEWEST_LANES 4
#define LONGEST_PART (BLOCK / FEWEST_LANES)

/* Positions along a block: those of its pixels and, once more for each lane, the one behind its last. */
#define POSITIONS (BLOCK + MOST_LANES)

/* For arrays of vectors: those that lie across two lines of the caches are slow. */
#define ALIGNED __attribute__((aligned(64)))

/* Largest side of the boxes of output pixels that the vectorised areas know; larger drops take a slow path. */
#define LARGEST_BOX 8

/* Rows and columns of the parts of a chip by whose corners it is told which output pixels are touched. */
#define TOUCHED_ROWS 256
#define TOUCHED_COLUMNS 256

/* Of the map's polynomial, along each axis, and most terms of an expansion of it: sums of both powers. */
#define LARGEST_DEGREE 15
#define MOST_TERMS (2 * LARGEST_DEGREE + 1)

/* A share of a drop below this is rounding noise. */
#define SMALLEST_SHARE 1e-6f

/* The same for shares that are worked out in double precision. */
#define SMALLEST_EXACT_SHARE 1e-12f

/* Units of a polynomial's arguments, so that all powers of them that matter are finite numbers. */
#define SMALLEST_HALF_SIZE 1e-3
#define LARGEST_HALF_SIZE 1e9

/* Knots that are closer count as this far apart, in chip pixels: quotients stay finite. */
#define SMALLEST_GAP 1e-30

/* Largest output coordinate, so that positions and their differences fit into 32 bits. */
#define LARGEST_POSITION 268435456.0

typedef enum { KERNEL_SQUARE, KERNEL_POINT, KERNEL_TURBO } KernelShape;

/* The arrays of multivisit.exposures.pixel_map.PixelMap. */
typedef struct {
    ptrdiff_t terms; /* degree + 1 */
    const double *coefficients; /* [axis][power of y][power of x] */
    double centre[2], half_size[2]; /* x, y */
    ptrdiff_t n_x_knots, n_y_knots; /* both 0 without a residual */
    const double *x_knots, *y_knots;
    const double *residual; /* [axis][y knot][x knot] */
} PixelMap;

typedef struct {
    ptrdiff_t rows, columns;
    const float *science;
    const float *weight; /* or NULL: then there is a mask */
    const unsigned char *mask; /* of the pixels that count, or NULL */
    float unit_weight; /* factor of the weights; weight of the pixels of a mask */
    const float *variance; /* or NULL */
    const int32_t *quality; /* or NULL */
    float factor; /* of the science values; squared of the variances */
} Chip;

/* A window of the output grid and the sums that belong to it. */
typedef struct {
    ptrdiff_t rows, columns;
    ptrdiff_t first_row, first_column; /* of the window in the grid */
    float *sums; /* [row][column][2]: sum of weight x share x value, sum of weight x share */
    int32_t *touched; /* [row][2]: columns that were added to, the first and the one after the last; or NULL */
    int32_t *context; /* or NULL */
    int32_t context_bit;
    float *variance; /* or NULL: sum of (weight x share)^2 x variance */
    int32_t *quality; /* or NULL: OR of all flags */
} Window;

typedef struct {
    KernelShape shape;
    double half_width; /* of the drop: in input pixels (square), in output pixels (turbo) */
} Drop;

/* Bounds of the map on a chip, in output pixels. */
typedef struct {
    double argument[2]; /* x, y: of the polynomial, in its own units */
    double value;
    double residual;
    double residual_slope[2][2]; /* [output axis][along x, along y]: of the residual, for a step of a pixel */
    /* Of its distance from bilinear interpolation between the corners of patches, and of the parts of a chip by
     * which it is told what is touched. */
    double patch_bend, part_bend;
} Bounds;

/* Bounds of the steps of the map from a chip's pixels to the next. */
typedef struct {
    double least[2][2], most[2][2]; /* [output axis][along x, along y], in output pixels */
    double residual[2][2]; /* the same of the residual alone, for steps as wide as a drop; least and most have none */
    int thin; /* whether the polynomial has pixels so thin, or is so folded, that single precision loses areas */
} Steps;

/* Which planes a window has besides the sums. */
typedef enum { PLANES_NONE, PLANES_CONTEXT, PLANES_ANY } Planes;

/* How much of a box lies in the window. */
enum { REACH_NONE, REACH_CROSSING, REACH_INSIDE };

/* Where the drops of a patch lie with respect to the window. */
typedef enum { PLACE_OUTSIDE, PLACE_CROSSING, PLACE_INSIDE } Place;

/* Positions in a patch are whole numbers of a small unit, 2^-bits output pixels, from each lane's origin: exact
 * to subtract and to compare, and quick to divide into output pixel and rest.  Those farther off than LIMIT,
 * which only maps beyond sense reach, are worked out exactly where they are needed. */
#define LIMIT ((double)(1 << 30))
#define LIMIT_EXPONENT 30
#define MOST_BITS 25

/* The place of a row of positions among the rows of knots. */
typedef struct {
    ptrdiff_t knot_row; /* at or before it */
    float fraction; /* of the way to the next one */
} RowPlace;

/* Positions along a block, a constant distance from the columns of its places, with what does not change from
 * row to row; in the order of places, see Workspace. */
typedef struct {
    ALIGNED double distance[POSITIONS]; /* from the middle of the lane's part, in chip pixels */
    ALIGNED ptrdiff_t knot[POSITIONS]; /* column of knots at or before the position */
    ALIGNED double knot_fraction[POSITIONS];
    ALIGNED float residual[2][POSITIONS]; /* at knot row `knot_row`, in small units */
    ALIGNED float residual_step[2][POSITIONS]; /* from there to the next knot row */
    ptrdiff_t knot_row; /* -1: not yet interpolated */
    int lanes;
} Side;

/* The map's polynomial about the middles of the lanes' parts of a patch, in small units from the lanes' origins:
 * Taylor coefficients of the distances in chip pixels, by lane. */
typedef struct {
    /* [axis][power of the distance in columns][power of the distance in rows] */
    ALIGNED double terms[2][MOST_TERMS][MOST_TERMS][MOST_LANES];
    int within; /* whether all positions of the patch are less than LIMIT, and drops are added by vectors */
} Expansion;

/* The slopes of a vector of drops' edges, by lane; steps are those along x in which an edge rises or falls as
 * much. */
typedef struct {
    ALIGNED float width[MOST_LANES]; /* along x, small units */
    ALIGNED float steepness[MOST_LANES], run_per_climb[MOST_LANES]; /* rise for width and its inverse, positive */
    ALIGNED float upwards[MOST_LANES]; /* 1, or -1 for edges that fall from left to right */
    ALIGNED int32_t leftwards[MOST_LANES]; /* sign bit of edges that lead from right to left */
} Slopes;

/* Everything that a thread needs for one block of pixels.
 *
 * A block is divided into as many parts of neighbouring columns as vectors have lanes, and the lanes work on a
 * part each.  Arrays of positions are indexed by place: place k * lanes + l is the k-th pixel of lane l's
 * part.  So the pixels of a vector are far from each other: they are added to the window one after the other
 * without waiting for each other's sums.
 */
typedef struct {
    Side sides[2], middle;
    Expansion expansion;
    ptrdiff_t row, first_column; /* of the block on the chip */
    ptrdiff_t middle_row; /* of the patch, and columns, of the lanes' parts */
    ALIGNED ptrdiff_t middle_column[MOST_LANES];
    ALIGNED double middle_argument[MOST_LANES]; /* of the map's polynomial there */
    int inside; /* whether all boxes of the patch lie in the window */
    int climbs; /* whether neighbouring pixels of a chip row fall on different output rows */
    ptrdiff_t anchor; /* output pixel of lane 0's origin, counted in the window */
    ptrdiff_t ahead; /* output pixels to where the pixels OUTPUT_ROWS_AHEAD chip rows on will fall */
    ALIGNED int32_t origin[2][MOST_LANES]; /* [axis]: output pixel of the lanes' origins, in the grid */
    ALIGNED int32_t lane_at[MOST_LANES]; /* output pixels from lane 0's origin to the others' */
    ALIGNED int32_t edges[2][2][2][POSITIONS]; /* positions [edge row][side][axis] */
    ALIGNED int32_t centres[2][POSITIONS];
    ALIGNED int32_t centre_pixel[2][BLOCK]; /* [axis]: output pixel of the centres, in the window */
    Slopes along[2][LONGEST_PART]; /* of the drops' lower and upper edges, [edge row][pixel of a part] */
    Slopes across[2][LONGEST_PART + 1]; /* of their left and right edges, [side][pixel of a part], from below */
    /* Of one vector of pixels, by lane. */
    ALIGNED int32_t box[2][MOST_LANES]; /* [axis]: first output pixel of the box, from the lane's origin */
    ALIGNED int32_t window_box[2][MOST_LANES]; /* [axis]: the same, in the window */
    ALIGNED int32_t reach[MOST_LANES]; /* how much of the box lies in the window */
    ALIGNED int32_t widest[MOST_LANES]; /* output pixels that the drops need along an axis, less one */
    /* Of two vectors of pixels in turn. */
    ALIGNED int32_t at[2][MOST_LANES]; /* first output pixel of the box, counted from lane 0's origin */
    /* Shares by slot, see spread_shares: [row of the box][four columns][slot]. */
    ALIGNED float twice[2][LARGEST_BOX][LARGEST_BOX / 4][MOST_LANES][8];
    ALIGNED float once[2][LARGEST_BOX][LARGEST_BOX / 4][MOST_LANES][4];
    ALIGNED int32_t bits[2][LARGEST_BOX][LARGEST_BOX / 4][MOST_LANES][4]; /* context bits of shares that are not 0 */
    /* What pixels add for each share, in the order of columns. */
    ALIGNED float pair[BLOCK][2]; /* weight x value, weight; 0 for pixels of weight 0 */
    ALIGNED float variance[BLOCK]; /* weight^2 x variance */
    ALIGNED int32_t quality[BLOCK];
    ALIGNED float weight[BLOCK], value[BLOCK];
} Workspace;

/* One call: all that stays the same while a chip is added to a window. */
typedef struct {
    const PixelMap *map;
    const Chip *chip;
    const Window *window;
    const Drop *drop;
    const Bounds *bounds;
    unsigned char *patches; /* [patch row][block column]: the Place of its drops */
    int bits; /* of the small unit */
    int side; /* of the boxes that drops need, at most LARGEST_BOX */
    int alike; /* whether all drops lie alike and in such boxes */
    int lowest_edge[2]; /* of all drops, by output axis: lower, right, upper, left (0 to 3), if they lie alike */
    int slow; /* whether all drops are to be added one by one */
    int local_terms; /* of the polynomials along a lane's part of a chip row */
    double *row_terms; /* of each row of patches, see expand_row */
    RowPlace *edge_places; /* of the lower and upper edge of each chip row, or NULL without knots */
    RowPlace *centre_places; /* of the centres of each chip row, or NULL without knots */
    int shared_edges; /* whether the drops' edges are those of their neighbours */
    Workspace *workspace;
} Job;

#endif
